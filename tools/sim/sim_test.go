package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/rozofs-go/rozo/rozofs/vocab"
)

var (
	verbose   = os.Getenv("SIM_TRACE") != ""
	fullDisks = os.Getenv("SIM_FULL_DISKS") != "" // doc.go says why not always
)

// seedsOfTest is how many seeds `go test` runs without SEEDS.
const seedsOfTest = 80

// One processor: what runs when is decided by the simulated delays, and little by chance.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1)
	os.Exit(m.Run())
}

// seeds reads SEEDS: a number, or FIRST..LAST.
func seeds(text string) (first, last uint64, err error) {
	if text == "" {
		return 1, seedsOfTest, nil
	}
	from, to, ranged := strings.Cut(text, "..")
	if !ranged {
		from, to = "1", text
	}
	first, err = strconv.ParseUint(from, 10, 64)
	if err == nil {
		last, err = strconv.ParseUint(to, 10, 64)
	}
	if err != nil || first > last {
		return 0, 0, fmt.Errorf("SEEDS=%s: want a number of seeds, or FIRST..LAST", text)
	}
	return first, last, nil
}

// TestCluster runs one episode for each seed.
func TestCluster(t *testing.T) {
	first, last, err := seeds(os.Getenv("SEEDS"))
	if err != nil {
		t.Fatal(err)
	}
	total := map[string]int{}
	for seed := first; seed <= last; seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			for what, n := range runEpisode(t, seed) {
				total[what] += n
			}
		})
	}
	for _, what := range slices.Sorted(maps.Keys(total)) {
		t.Logf("%-12s %d", what, total[what])
	}
}

const hangs = 3 * time.Minute

// runEpisode runs one seed in a bubble of simulated time.
func runEpisode(t *testing.T, seed uint64) map[string]int {
	ep := &episode{t: t, seed: seed, history: newHistory(), names: newNames(), fids: map[int]vocab.FID{}}
	began := time.Now()
	cryptotest.SetGlobalRandom(t, seed)
	// On the wall's clock: in the bubble time stands still while a goroutine waits for a mutex.
	watchdog := time.AfterFunc(hangs, func() {
		ep.mu.Lock()
		fmt.Fprintf(os.Stderr, "seed %d hangs; %s\n%s\n", seed, ep.replay(), strings.Join(ep.trace[max(0, len(ep.trace)-100):], "\n"))
		buf := make([]byte, 4<<20)
		fmt.Fprintf(os.Stderr, "%s\n", buf[:runtime.Stack(buf, true)])
		os.Exit(2)
	})
	defer watchdog.Stop()
	synctest.Test(t, func(*testing.T) { ep.run() })
	wrong, undecided := ep.history.check()
	ep.problems = append(ep.problems, wrong...)
	if len(ep.problems) > 0 {
		t.Errorf("seed %d: %s\n%s\nAgain with: %s", seed, strings.Join(ep.problems, "\n"), strings.Join(ep.trace, "\n"), ep.replay())
	}
	count := map[string]int{"episodes": 1, "undecided": undecided, "messages": ep.c.net.messages}
	if ep.faults != nil {
		for what, n := range ep.faults.seen {
			count["fault "+what] += n
		}
	}
	if testing.Verbose() {
		t.Logf("seed %d: %v, %d messages, %v simulated, %v", seed, ep.layout, ep.c.net.messages, ep.took.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	}
	return count
}

func (ep *episode) replay() string {
	if fullDisks {
		return fmt.Sprintf("SIM_FULL_DISKS=1 make sim SEEDS=%d..%d", ep.seed, ep.seed)
	}
	return fmt.Sprintf("make sim SEEDS=%d..%d", ep.seed, ep.seed)
}

// problem notes what is wrong; the episode goes on.
func (ep *episode) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	ep.note("PROBLEM", "%s", text)
	ep.mu.Lock()
	defer ep.mu.Unlock()
	ep.problems = append(ep.problems, text)
}

func (ep *episode) report(err error) {
	if err != nil {
		ep.problem("%v", err)
	}
}

// layouts that seeds take turns with. The small one has no spare.
var layouts = []string{"0", "0", "0", "2,3,3", "1", "2,4,5"}

// run is the episode.
func (ep *episode) run() {
	ep.start = time.Now()
	r := ep.rand("shape")
	ep.layout = layouts[r.IntN(len(layouts))]
	layout, err := vocab.ParseLayout(ep.layout)
	ep.require(err)
	systematic := r.IntN(3) == 0
	ep.storages = int(layout.Safe) + r.IntN(2)
	ep.clients = 2 + r.IntN(2)
	ep.c = newCluster(ep, layout, systematic)
	ep.note("sim", "layout %s, systematic %v, %d storages, %d clients", ep.layout, systematic, ep.storages, ep.clients)
	defer ep.tearDown()
	ep.c.start()
	ep.prepare()
	const operations = 30
	ep.faults = ep.planFaults(ep.clients * operations * 40)
	ep.c.net.watch(ep.faults.message)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { defer close(stopped); ep.faults.loop(stop) }()
	ep.mu.Lock()
	for _, c := range ep.at {
		ep.work(c, operations)
	}
	ep.mu.Unlock()
	ep.working.Wait()
	close(stop)
	<-stopped
	ep.finish()
	ep.took = time.Since(ep.start)
}

// work starts the workers of a client; ep.mu is held.
func (ep *episode) work(c *client, operations int) {
	for w := range 2 {
		ep.working.Add(1)
		c.work.Go(func() { defer ep.working.Done(); c.worker(w, operations) })
	}
}

// prepare mounts the clients and makes the files that all share.
func (ep *episode) prepare() {
	for range ep.clients {
		ep.nextID++
		c, err := ep.newClient(ep.nextID)
		ep.require(err)
		ep.at = append(ep.at, c)
	}
	for i := range 2 {
		ep.at[0].create(fmt.Sprintf("s%d", i))
	}
}

func (ep *episode) clientIn(slot int) string {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	return ep.at[slot].name
}

// replaceClient lets a client crash and another mount in its place.
func (ep *episode) replaceClient(slot int, silent bool, span time.Duration) {
	if !ep.faults.take(fmt.Sprint("slot", slot)) {
		return
	}
	defer ep.faults.give(fmt.Sprint("slot", slot))
	ep.mu.Lock()
	c := ep.at[slot]
	ep.nextID++
	id := ep.nextID
	ep.mu.Unlock()
	ep.note("fault", "%s crashes", c.name)
	c.crash(silent)
	time.Sleep(span)
	fresh, err := ep.newClient(id)
	if err != nil {
		ep.problem("%v", err)
		return
	}
	ep.mu.Lock()
	defer ep.mu.Unlock()
	ep.at[slot] = fresh
	ep.work(fresh, 10)
}

// finish checks what is left when all faults are over.
func (ep *episode) finish() {
	ep.note("sim", "the faults are over")
	for _, c := range ep.at {
		ep.report(c.finish())
	}
	ep.at = nil
	ep.awaitRest()
	for _, err := range ep.c.exportServer().Check(context.Background()) {
		ep.problem("the records of exportd: %v", err)
	}
	reader := ep.newReader()
	ep.checkNames(reader)
	all := ep.readAll(reader)
	for _, n := range ep.c.storages {
		ep.readWithout(reader, all, n)
	}
	ep.endReader(reader) // its leases keep scrubs from knowing that all is final
	ep.awaitRest()       // those who crashed late are missed by now, since it has read all
	ep.scrubTwice()
	reader = ep.newReader()
	for i := range ep.c.storages {
		var gone []*storageNode
		for j := range ep.c.most() {
			gone = append(gone, ep.c.storages[(i+j*(1+i%2))%len(ep.c.storages)])
		}
		ep.readWithout(reader, all, gone...)
	}
	ep.endReader(reader)
}

// newReader mounts one more client, when the others have ended.
func (ep *episode) newReader() *client {
	ep.nextID++
	reader, err := ep.newClient(ep.nextID)
	ep.require(err)
	ep.at = append(ep.at, reader)
	return reader
}

func (ep *episode) endReader(reader *client) {
	ep.at = nil
	ep.report(reader.finish())
}

// readAll reads every file, but for those that cannot bear that a storage is missing since
// they have rotted on others.
func (ep *episode) readAll(c *client, missing ...*storageNode) map[int][]cells {
	all := map[int][]cells{}
	for _, name := range slices.Sorted(maps.Keys(ep.names.file)) {
		file := ep.names.file[name]
		if ep.names.unsure[name] || all[file] != nil {
			continue
		}
		o := c.handle(file, name)
		if o == nil {
			ep.problem("%s, file %d, cannot be opened", name, file)
			continue
		}
		o.uses.Done()
		ep.fids[file] = ep.fidOf(o)
		gone := map[*storageNode]bool{}
		maps.Copy(gone, ep.faults.rottenOn(ep.fids[file].String()))
		for _, n := range missing {
			gone[n] = true
		}
		if len(gone) > ep.c.most() {
			continue
		}
		c.stat(o)
		found := c.read(o, 0, ep.names.cells(file)/cellsPerBlock)
		if found == nil {
			ep.problem("%s, file %d, cannot be read", name, file)
		}
		all[file] = found
	}
	return all
}

func (ep *episode) fidOf(o *openFile) vocab.FID {
	info, err := o.f.Stat()
	if err != nil {
		return vocab.FID{}
	}
	return vocab.MakeFID(1, 1, 1, info.Sys().(vocab.Attr).Ino)
}

// checkNames compares the export's names with those that must be there.
func (ep *episode) checkNames(c *client) {
	entries, err := c.tree.ReadDir(c.ctx, ".")
	if err != nil {
		ep.problem("the names cannot be listed: %v", err)
		return
	}
	there := map[string]bool{}
	for _, e := range entries {
		there[e.Name()] = true
	}
	for name := range ep.names.file {
		if !there[name] && !ep.names.unsure[name] {
			ep.problem("%s is not there", name)
		}
	}
	for name := range there {
		if _, known := ep.names.file[name]; !known && !ep.names.unsure[name] {
			ep.problem("%s is there", name)
		}
	}
}

// await waits until something holds, by the simulated clock.
func (ep *episode) await(what string, ok func() bool) {
	for began := time.Now(); !ok(); {
		if time.Since(began) > patience {
			all, _ := ep.c.tasks(running)
			ep.fail("not within %v: %s; tasks that run: %+v", patience, what, all)
		}
		time.Sleep(50 * time.Millisecond)
	}
	ep.note("sim", "%s", what)
}

// tearDown ends every goroutine, also after a failure.
func (ep *episode) tearDown() {
	cause := recover()
	if f, ok := cause.(failure); ok {
		ep.problem("%s", string(f))
	} else if cause != nil {
		ep.problem("panic: %v\n%s", cause, debug.Stack())
	}
	var joined sync.WaitGroup
	for _, c := range ep.at {
		joined.Go(func() { c.crash(false) })
	}
	joined.Wait()
	var errs []error
	errs = append(errs, ep.c.export.stop())
	for _, n := range ep.c.storages {
		errs = append(errs, n.stop())
	}
	ep.report(errors.Join(errs...))
}
