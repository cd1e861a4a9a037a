// Package bench measures forebay from outside, by HTTP and SQL alone: what it does for the clients API before
// and after, what happens when something breaks, how it does beside other caches, and which costs grow with
// size. One call runs everything from nothing, or against a service that runs already, and ends in a report.
//
//	load      arrivals, latencies, results
//	clients   what the frontend asks for
//	stage     servers and data to play on
//	legacy    the old service; bare, plain: yardsticks for hits, and for what is behind them
//	scenario  what is played, and the goals
//	paths     misses, lists, exports and hits in Redis beside the same done directly
//	peers     other caches beside forebay
//	scale     what stays flat
//	gauge     CPU, memory, machine, pool, statements
//	report    table, JSON, page, comparison
//	private   servers that belong to their caller alone
package bench
