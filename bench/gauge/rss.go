package gauge

import (
	"sync"
	"time"
)

// rssEvery is how often memory is looked at.
const rssEvery = 100 * time.Millisecond

// WatchRSS looks at the memory of processes until the function that it returns is called, which tells the most
// that was seen in bytes.
func WatchRSS(p *Processes) (stop func() (highest int)) {
	ended := make(chan struct{})
	highest := 0
	var watching sync.WaitGroup
	watching.Go(func() {
		ticker := time.NewTicker(rssEvery)
		defer ticker.Stop()
		for {
			if rss, err := p.RSS(); err == nil {
				highest = max(highest, rss)
			}
			select {
			case <-ticker.C:
			case <-ended:
				return
			}
		}
	})
	return func() int {
		close(ended)
		watching.Wait()
		return highest
	}
}
