package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/rozofs-go/rozo/rozofs/admin"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

const exportdFlag = "`host:port` of exportd, for a cluster that rozo up has not made; then --dir is not used"

// verb is what may stand behind "rozo storage", "rozo volume" or "rozo scrub".
type verb struct {
	kind   wire.TaskKind // 0: of the group's
	act    func(x *taskCommand, ctx context.Context) error
	help   string
	needs  []string // operands
	paced  bool     // has a rate
	waited bool     // may be waited for
}

var verbs = map[string]map[string]verb{
	"storage": {
		"rebuild": {
			kind: wire.TaskRebuild, act: (*taskCommand).rebuild, needs: []string{"SID"}, paced: true, waited: true,
			help: "Brings back all that a storage should have, from the others. Of a cluster on this machine a root\n" +
				"that is lost is made anew first. An empty root in place of one that is known is rebuilt by itself.",
		},
		"drain": {
			kind: wire.TaskDrain, act: (*taskCommand).start, needs: []string{"SID"}, paced: true, waited: true,
			help: "Moves all that a storage has to the others of its cluster, and gives it no new files. It may be down.\n" +
				"When it is done the storage can be taken out of the configuration.",
		},
		"undrain": {
			kind: wire.TaskDrain, act: (*taskCommand).cancel, needs: []string{"SID"},
			help: "Ends a drain; the storage gets files again. What was moved stays where it is.",
		},
		"status": {act: (*taskCommand).list, help: "Lists the rebuilds and drains."},
	},
	"volume": {
		"balance": {
			kind: wire.TaskBalance, act: (*taskCommand).start, paced: true, waited: true,
			help: "Moves files from the fuller storages of each cluster to the emptier ones.",
		},
		"cancel": {kind: wire.TaskBalance, act: (*taskCommand).cancel, help: "Ends a balance."},
		"status": {act: (*taskCommand).list, help: "Lists the balances."},
	},
	"scrub": {
		"start": {
			kind: wire.TaskScrub, act: (*taskCommand).start, paced: true, waited: true,
			help: "Checks every projection on every storage against its checksum and identity, and that all are there;\n" +
				"repairs what is wrong, and removes what no file needs. exportd starts one by itself from time to time.",
		},
		"cancel": {kind: wire.TaskScrub, act: (*taskCommand).cancel, help: "Ends a scrub."},
		"status": {act: (*taskCommand).list, help: "Tells of the scrub that runs, or of the last."},
	},
}

// taskCommand is one such command line.
type taskCommand struct {
	tasks   admin.Tasks
	cluster *admin.Cluster // nil: exportd was named
	req     wire.TaskRequest
	group   string
	wait    bool
	asJSON  bool
	out     io.Writer
}

// tasksOf makes the command of a group.
func tasksOf(group string) command {
	return func(ctx context.Context, args []string, out io.Writer) error {
		name := ""
		if len(args) > 0 {
			name = args[0]
		}
		v, ok := verbs[group][name]
		if !ok {
			f := newFlags(group, groupHelp(group), examples[group])
			f.dir()
			f.String("exportd", "", exportdFlag)
			if err := f.parse(args, out, "VERB"); err != nil {
				return err
			}
			return f.wrong(fmt.Sprintf("%q is none of %s", f.operands[0], strings.Join(verbNames(group), ", ")))
		}
		x := &taskCommand{group: group, out: out}
		f := newFlags(group+" "+name, fmt.Sprintf("Usage: rozo %s [flags]\n\n%s", strings.Join(append([]string{group, name}, v.needs...), " "), v.help), examples[group])
		dir := f.dir()
		addr := f.String("exportd", "", exportdFlag)
		vid := f.Uint("vid", 1, "`number` of the volume")
		f.BoolVar(&x.asJSON, "json", false, "write JSON, with stable names of fields")
		rate := ""
		if v.paced {
			f.StringVar(&rate, "rate", "", "at most so many `bytes` a second, such as 50M; without it as fast as it goes")
		}
		if v.waited {
			f.BoolVar(&x.wait, "wait", false, "tell how it gets on, and return when it has ended")
		}
		if err := f.parse(args[1:], out, v.needs...); err != nil {
			return err
		}
		if *vid > math.MaxUint16 {
			return f.wrong("--vid: too large")
		}
		x.req.Kind, x.req.VID = v.kind, vocab.VID(*vid)
		var err error
		if len(v.needs) > 0 {
			if x.req.ID, err = admin.ParseStorageID(f.operands[0]); err != nil {
				return err
			}
		}
		if x.req.Rate, err = parseRate(rate); err != nil {
			return f.wrong(err.Error())
		}
		if x.tasks.Addr = *addr; *addr == "" {
			if x.cluster, err = admin.Open(*dir); err != nil {
				return err
			}
			defer x.cluster.Close()
			x.tasks = x.cluster.Tasks()
		}
		return v.act(x, ctx)
	}
}

// examples end the help of a group's commands.
var examples = map[string]string{
	"storage": `Examples:
  rozo storage rebuild 3 --wait
  rozo storage drain 3 --rate 50M
  rozo storage status --json | jq .
  rozo storage drain 2/7 --exportd meta.example.org:53000
`,
	"volume": `Examples:
  rozo volume balance --rate 50M --wait
  rozo volume status
`,
	"scrub": `Examples:
  rozo scrub start --wait
  rozo scrub start --rate 20M
  rozo scrub status --json | jq '.[0].broken_projections'
`,
}

func groupHelp(group string) string {
	text := "Usage: rozo " + group + " VERB [flags]\n"
	for _, name := range verbNames(group) {
		text += "\n" + name + "\n  " + strings.ReplaceAll(verbs[group][name].help, "\n", "\n  ") + "\n"
	}
	return strings.TrimRight(text, "\n")
}

func verbNames(group string) (names []string) {
	for _, name := range []string{"rebuild", "drain", "undrain", "balance", "start", "cancel", "status"} {
		if _, ok := verbs[group][name]; ok {
			names = append(names, name)
		}
	}
	return names
}

// parseRate reads bytes with an optional K, M, G or T, which are powers of 1024.
func parseRate(s string) (uint64, error) {
	if s == "" {
		return 0, nil
	}
	number, shift := s, 0
	if i := strings.IndexByte("KMGT", s[len(s)-1]&^0x20); i >= 0 {
		number, shift = s[:len(s)-1], 10*(i+1)
	}
	n, err := strconv.ParseUint(number, 10, 63-shift)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("--rate %s: want a number of bytes, such as 500000 or 50M", s)
	}
	return n << shift, nil
}

func (x *taskCommand) rebuild(ctx context.Context) error {
	if x.cluster != nil {
		if err := x.cluster.RenewRoot(ctx, x.req.ID.SID, x.out); err != nil {
			return err
		}
	}
	return x.start(ctx)
}

func (x *taskCommand) start(ctx context.Context) error {
	t, err := x.tasks.Start(ctx, x.req)
	if err != nil {
		return err
	}
	if x.wait {
		progress := x.out
		if x.asJSON {
			progress = io.Discard
		}
		if t, err = x.tasks.Wait(ctx, t, progress); err != nil || !x.asJSON {
			return err
		}
	}
	return x.print(t)
}

func (x *taskCommand) cancel(ctx context.Context) error {
	t, err := x.tasks.Cancel(ctx, x.req)
	if err != nil {
		return err
	}
	return x.print(t)
}

func (x *taskCommand) print(t admin.Task) error {
	if x.asJSON {
		return writeJSON(x.out, t)
	}
	_, err := fmt.Fprintln(x.out, t.Line())
	return err
}

// listed are the kinds of task that a group is about.
var listed = map[string][]string{
	"storage": {wire.TaskRebuild.String(), wire.TaskDrain.String()},
	"volume":  {wire.TaskBalance.String()},
	"scrub":   {wire.TaskScrub.String()},
}

// list prints the tasks of the group.
func (x *taskCommand) list(ctx context.Context) error {
	all, err := x.tasks.List(ctx)
	if err != nil {
		return err
	}
	mine := []admin.Task{}
	for _, t := range all {
		if slices.Contains(listed[x.group], t.Kind) {
			mine = append(mine, t)
		}
	}
	if x.asJSON {
		return writeJSON(x.out, mine)
	}
	if len(mine) == 0 {
		_, err := fmt.Fprintln(x.out, "none was started")
		return err
	}
	return admin.WriteTasks(x.out, mine)
}

func writeJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
