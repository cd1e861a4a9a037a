package changes

import "context"

func (f *Feed) listen(ctx context.Context) error { return nil }
