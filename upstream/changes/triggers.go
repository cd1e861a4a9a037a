package changes

// Names of what Install makes.
const (
	triggerRows     = "forebay_changes_rows"
	triggerTruncate = "forebay_changes_truncate"
	eventCommand    = "forebay_changes_command"
	eventDrop       = "forebay_changes_drop"
)
