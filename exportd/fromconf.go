package exportd

import (
	"log/slog"
	"time"

	"github.com/rozofs-go/rozo/rozofs/conf"
)

// FromConf makes a Config of a checked export.conf.
func FromConf(c *conf.Export, log *slog.Logger) Config {
	cfg := Config{Dir: c.Meta, Cluster: c.Cluster, LeaseTerm: c.LeaseTerm, ScrubInterval: time.Duration(c.ScrubDays) * 24 * time.Hour, ScrubRate: c.ScrubRate, Log: log}
	if c.ScrubDays == 0 {
		cfg.ScrubInterval = -1
	}
	for _, v := range c.Volumes {
		volume := Volume{VID: v.VID, Layout: v.Layout}
		for _, k := range v.Clusters {
			cluster := Cluster{CID: k.CID}
			for i := range k.Storages {
				m := &k.Storages[i]
				domain := m.Host
				if m.Site != "" {
					domain = "site " + m.Site
				}
				cluster.Storages = append(cluster.Storages, Storage{SID: m.SID, Addr: m.Addr(), Domain: domain})
			}
			volume.Clusters = append(volume.Clusters, cluster)
		}
		cfg.Volumes = append(cfg.Volumes, volume)
	}
	for _, e := range c.Exports {
		cfg.Exports = append(cfg.Exports, Export{
			EID: e.EID, Name: e.Name, Root: e.Root, VID: e.VID, BlockBytes: e.BlockSize,
			Systematic: e.Systematic, SoftQuota: e.SoftQuota, HardQuota: e.HardQuota,
		})
	}
	return cfg
}
