package paths

import (
	"context"
	"fmt"

	"forebay/bench/gauge"
	"forebay/bench/load"
	"forebay/bench/report"
	"forebay/bench/stage"
)

// mostDependants is how many responses the writes outdate, if there are as many clients.
const mostDependants = 100_000

// dependants compares writes that outdate many stored responses with writes that outdate one.
func (p *pair) dependants(ctx context.Context, forebay *stage.Forebay, st *stage.Stage) error {
	ids, err := st.IDs(ctx, mostDependants)
	if err != nil {
		return err
	}
	most := len(ids) - 1 // behind the last one there is none
	stored := make([]*load.Request, most)
	for i := range stored {
		stored[i] = load.NewRequest("stored", "GET", "/next/"+ids[i], "")
	}
	contestants := map[int]*contestant{}
	for _, n := range []int{1, most} {
		contestants[n] = &contestant{address: forebay.Address(), processes: []*gauge.Processes{gauge.ProcessesOf(forebay.Pid())}}
	}
	writes := 300
	if p.settings.Quick {
		writes = 20
	}
	writing := &contest{
		name: "write", connections: 4, count: writes,
		requests: func(i int) *load.Request {
			return load.NewRequest("write", "PUT", "/row/"+ids[i%most], fmt.Sprintf(`{"notes":"Written %d."}`, i))
		},
	}
	for round := -1; round < max(p.settings.rounds()/3, 1); round++ {
		p.settings.Step("paths · writes with 1 and %d dependants", most)
		for _, n := range []int{1, most} {
			if err := forebay.Purge(); err != nil {
				return err
			}
			filling := &contest{name: "fill", connections: 32, count: n, requests: func(i int) *load.Request { return stored[i] }}
			if err := contestants[n].round(ctx, filling, p.settings.Seed, false); err != nil {
				return fmt.Errorf("store %d dependants: %w", n, err)
			}
			if err := contestants[n].round(ctx, writing, p.settings.Seed, round >= 0); err != nil {
				return fmt.Errorf("write with %d dependants: %w", n, err)
			}
		}
	}
	r := gauge.Median(gauge.Over(contestants[most].cpu, contestants[1].cpu))
	p.section.Figures = append(p.section.Figures, report.Low("paths.dependants", fmt.Sprintf("write that outdates %d responses beside one that outdates one: CPU of forebay", most), r.Median, "×").
		Want(1.3, "goal").JudgedBy(r.Low).With("%s; %s and %s µs", r, report.Number(gauge.Median(contestants[most].cpu).Median), report.Number(gauge.Median(contestants[1].cpu).Median)))
	return nil
}
