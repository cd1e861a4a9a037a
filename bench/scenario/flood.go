package scenario

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"forebay/bench/bare"
	"forebay/bench/clients"
	"forebay/bench/gauge"
	"forebay/bench/load"
	"forebay/bench/report"
	"forebay/bench/stage"
)

// flooded is the size of the memory tier that is flooded, and slack what the process may take beside it.
const (
	flooded = 64 << 20
	slack   = 96 << 20
)

// Flood asks for ever new documents, far more than fit, while some people go on asking for a hundred.
func (s *Settings) Flood(ctx context.Context, binary string) (*report.Section, error) {
	section := report.NewSection("flood", "A flood of unique URLs",
		fmt.Sprintf("Ever new documents of 1 KiB go through a memory tier of %d MiB, while some people go on asking for a hundred of them.", flooded>>20))
	f, origin, err := stage.Documents(ctx, stage.DocumentsPlan{Binary: binary, Memory: "64MiB"})
	if err != nil {
		return section, err
	}
	defer origin.Stop()
	defer f.Stop()
	processes := gauge.ProcessesOf(f.Pid())
	window := s.lasting(20*time.Second, time.Second)
	s.Step("flood · %s", window)
	var next atomic.Int64
	next.Store(1000)
	hot := make([]*load.Request, 100)
	for i := range hot {
		hot[i] = load.NewRequest("hot", "GET", bare.Target(1024, i), "")
	}
	watched := gauge.WatchRSS(processes)
	m := load.Run(ctx, load.Config{Address: f.Address(), Window: window, Timeout: s.Timeout, Seed: s.Seed},
		load.Stream{Name: "flood", Connections: s.Workers, New: uniqueDocuments(&next)},
		load.Stream{Name: "hot", Connections: 20, Rate: 200, New: oneOf(hot)})
	tellFlood(section, m.Of("flood"), m.Of("hot"), watched())
	return section, nil
}

// tellFlood tells what came, and what became of people meanwhile. Highest is bytes.
func tellFlood(section *report.Section, r, people *load.Result, highest int) {
	table := report.Table{Title: "What came", Columns: []string{"unique URLs", "MB of them", "a second", "wrong or broken", "highest RSS MiB", "people's hit rate", "people's p99 ms"}}
	table.Row(fmt.Sprint(r.Counts.Answered), report.Number(float64(r.Counts.Bytes)/1e6), report.Number(r.Throughput), fmt.Sprint(r.Errors()),
		report.Number(float64(highest)/(1<<20)), percent(people.HitRate()), report.Number(people.Latency.P99))
	section.Tables = append(section.Tables, table)
	section.Figures = append(section.Figures,
		report.Low("flood.rss", "flood of unique URLs against 64 MiB: highest RSS", float64(highest)/(1<<20), "MiB").Want(float64(flooded+slack)/(1<<20), ours).
			With("%d URLs, %s MB", r.Counts.Answered, report.Number(float64(r.Counts.Bytes)/1e6)),
		report.Low("flood.errors", "flood of unique URLs: errors", float64(r.Errors()+people.Errors()), "").Want(0, ours),
		report.High("flood.hit_rate", "flood of unique URLs: hit rate of those who ask for a hundred documents", people.HitRate(), "%"))
}

// uniqueDocuments asks for the next document each time.
func uniqueDocuments(next *atomic.Int64) clients.DrawFunc {
	return func(*rand.Rand) load.DrawFunc {
		return func() *load.Request {
			return load.NewRequest("flood", "GET", bare.Target(1024, int(next.Add(1))), "")
		}
	}
}
