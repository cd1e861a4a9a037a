// Package performance tells how forebay's statements fare: the JSON endpoints under
// /api/v1/performance and the page that shows them.
//
// # What is counted
//
// Every request to a SQL rule is one query, answered from the cache (a hit) or not. Figures are this
// instance's, since it started. Rates are percentages, times are seconds, MB are 2^20 bytes. A cache hit
// rate is hits per read: writes cannot hit and are not among its reads; whatever else was not answered
// from the cache, bypassed and unstorable responses too, is.
//
//	queries = reads + writes,  reads = hits + misses,  failures ⊂ misses + writes
//
// # What is kept, and what can therefore be asked
//
// History is kept per rule and per wall-clock minute for 24 hours, in memory that does not grow with the
// number of queries:
//
//	each rule and minute   hits, misses, failures, the time of each, and of waiting for a connection, which is
//	                       none of theirs, how many took 0.1 ms, 0.2, 0.5, 1 … 50 s
//	                       or longer, and the 4 slowest queries                               152 bytes
//	each minute            the 20 slowest queries of all rules                                176 bytes
//	every 5 seconds        the pool's use and the cache's evictions, summed per minute         64 bytes
//
// That is 228 KB for a rule that is asked in every hour of a day (an hour without a query costs nothing)
// and 59 MB at most: from the 256th rule on, rules share one history, "other rules".
//
// A period of n minutes is the present minute and the n before it, whole: n to n+1 minutes. So:
//
//   - the slowest 20 queries of any period are exact; those of one table are the 4 slowest of each of
//     its rules in each minute, together with those among the 20 slowest of all;
//   - the number of queries slower than a threshold is exact at the steps 1, 2 and 5 of each decade from
//     0.1 ms to 50 s; at another threshold it is exact for each rule and minute with at most 4 queries
//     above it, and a lower bound else;
//   - a query of 71 minutes or longer is listed as one of 71 minutes; times are listed to 1 µs.
//
// Record costs a few atomic additions. It takes a lock when it opens a minute's window, never else.
package performance
