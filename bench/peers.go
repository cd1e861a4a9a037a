package bench

import "context"

func (b *runner) peers(ctx context.Context) error { return ctx.Err() }
func (b *runner) scale(ctx context.Context) error { return ctx.Err() }
