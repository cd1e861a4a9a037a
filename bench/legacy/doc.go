// Package legacy is the service that forebay is compared with: the clients API as it is before anybody thinks
// about its speed. One statement for each figure, ILIKE over two columns, inserts row by row, ten connections,
// nothing stored.
//
// It is an honest one. It is compiled, its connections are pooled and its statements prepared; its tables have
// their primary, unique and foreign keys; nothing waits, sleeps or is done twice. The service that it stands
// for was slower.
package legacy
