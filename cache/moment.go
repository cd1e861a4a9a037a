package cache

import (
	"math"
	"time"
)

// Moment is a wall-clock time in a third of time.Time's room: nanoseconds since 1970. 0: it is not known.
type Moment int64

// MomentOf returns the moment of t, or the nearest that there is.
func MomentOf(t time.Time) Moment {
	switch {
	case t.IsZero():
		return 0
	case t.Unix() < 0:
		return 1
	case t.Unix() >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	}
	return Moment(max(t.UnixNano(), 1))
}

// MomentsOf returns the moments of a request and of its response. They are as far apart as the monotonic clock says,
// whatever the wall clock did meanwhile: see StoredResponse.Asked.
func MomentsOf(sent, came time.Time) (request, response Moment) {
	response = MomentOf(came)
	return max(response-Moment(came.Sub(sent)), 1), response
}

// Time returns the moment as a time, the zero one if it is not known.
func (m Moment) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(m))
}
