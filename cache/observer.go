package cache

// Observer is told what a log learns, by what others than its lookups live: a log that instances share. It
// is called in the log's order and under the log's lock, when lookups judge by what it is told of already.
// So it must be quick, must not block, and must not call the log. What it is given is not to be written.
type Observer interface {
	// Began is told of a new epoch: nothing of before may be compared with what is told from here on.
	Began(epoch string)
	// Committed is told of a change. It is the feed's if its LSN is known: those come in the order of their LSNs.
	Committed(c *Change)
	// Advanced is told that every change whose commit record ends at or before the WAL position is in the log,
	// which had been asked for after asOf. At is the log's end. Position 0: the feed does not know.
	Advanced(asOf Instant, lsn uint64, at Position)
	// Fed is told of each new state of the feed.
	Fed(f *Feed)
	// Purged is told of each purge.
	Purged(p *Purge)
}

// Observe has the observer told of all that the log learns from now on. It is called before anybody else
// uses the log, and once.
func (l *ChangeLog) Observe(o Observer) { l.observer = o }

// advanced tells the observer.
func (l *ChangeLog) advanced(asOf Instant, lsn uint64) {
	if l.observer == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.observer.Advanced(asOf, lsn, Position(l.position.Load()))
}

// tellCommitted keeps the change from escaping where there is no observer. Called with mu held.
func (l *ChangeLog) tellCommitted(c Change) { l.observer.Committed(&c) }

// tellPurged is the like of a purge. Called with mu held.
func (l *ChangeLog) tellPurged(p Purge) { l.observer.Purged(&p) }
