package bench

import (
	"context"

	"forebay/bench/peers"
	"forebay/bench/scale"
)

// peers measures hits beside other caches.
func (b *runner) peers(ctx context.Context) error {
	section, err := peers.Run(ctx, peers.Settings{
		Binary: b.config.Binary, Quick: b.config.Quick, Matrix: b.config.Matrix, Seed: b.config.Seed, Step: b.progress.step,
	})
	return b.add(ctx, err, section)
}

// scale measures what stays flat.
func (b *runner) scale(ctx context.Context) error {
	stored := b.config.Stored
	switch {
	case b.config.Quick:
		stored = 1000
	case stored == 0:
		stored = 1_000_000
	}
	section, err := scale.Run(ctx, scale.Settings{Binary: b.config.Binary, Quick: b.config.Quick, Stored: stored, Seed: b.config.Seed, Step: b.progress.step})
	return b.add(ctx, err, section)
}
