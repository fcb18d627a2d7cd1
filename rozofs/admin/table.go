package admin

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// WriteTable writes the status for people to read.
func (s *Status) WriteTable(w io.Writer) error {
	fmt.Fprintf(w, "%s: layout %s, %d storages, export %s, blocks of %s\n\n", s.Dir, s.Layout, len(s.Daemons)-1, s.Export, formatBytes(uint64(s.BlockBytes)))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ROLE\tSID\tPID\tADDRESS\tSTATE\tFREE\tLOG")
	row := func(role string, sid vocab.SID, pid int, addr string, st State, free, total uint64, log string) {
		space := "-"
		if total > 0 {
			space = formatBytes(free) + " of " + formatBytes(total)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", role, dash(sid), dash(pid), addr, st, space, log)
	}
	for _, d := range s.Daemons {
		row(d.Role, d.SID, d.PID, d.Address, d.State, d.FreeBytes, d.TotalBytes, d.Log)
	}
	m := s.Mount
	row(m.Role, 0, m.PID, m.MountPoint, m.State, m.FreeBytes, m.TotalBytes, m.Log)
	if err := t.Flush(); err != nil {
		return err
	}
	if s.Unsettled > 0 {
		fmt.Fprintf(w, "\n%d files wait to be settled: their writers ended without finishing\n", s.Unsettled)
	}
	if s.Degraded > 0 {
		fmt.Fprintf(w, "\n%d files wait to be repaired: a storage was missing when they were written\n", s.Degraded)
	}
	if running := slices.DeleteFunc(slices.Clone(s.Tasks), func(t Task) bool { return t.State != wire.TaskRunning.String() }); len(running) > 0 {
		fmt.Fprintln(w)
		if err := WriteTasks(w, running); err != nil {
			return err
		}
	}
	return s.writeRemedies(w)
}

// writeRemedies tells, for what does not run, why and what to do.
func (s *Status) writeRemedies(w io.Writer) error {
	if s.Healthy {
		return nil
	}
	fmt.Fprintln(w)
	all := append(s.Daemons[:len(s.Daemons):len(s.Daemons)], DaemonStatus{Name: s.Mount.Name, State: s.Mount.State, Detail: s.Mount.Detail})
	if !slices.ContainsFunc(all, func(d DaemonStatus) bool { return d.State != Stopped }) {
		_, err := fmt.Fprintf(w, "The cluster is down; bring it up: rozo up --dir %s\n", s.Dir)
		return err
	}
	for _, d := range all {
		if d.State == Running {
			continue
		}
		remedy := fmt.Sprintf("rozo start %s --dir %s", d.Name, s.Dir)
		if d.State != Stopped && d.State != Died {
			remedy = fmt.Sprintf("rozo stop %s --dir %s; %s", d.Name, s.Dir, remedy)
		}
		if _, err := fmt.Fprintf(w, "%s: %s%s; to start it: %s\n", d.Name, d.State, prefixed(", ", d.Detail), remedy); err != nil {
			return err
		}
	}
	return nil
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// dash writes a number, and a dash for none.
func dash[N ~int | ~uint8](n N) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

// formatBytes writes a size with a unit, exact when it is a multiple.
func formatBytes(n uint64) string {
	units := []string{"KiB", "MiB", "GiB", "TiB", "PiB"}
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	i, f := 0, float64(n)/1024
	for f >= 1024 && i < len(units)-1 {
		i, f = i+1, f/1024
	}
	if f == float64(uint64(f)) {
		return fmt.Sprintf("%d %s", uint64(f), units[i])
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}
