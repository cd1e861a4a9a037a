// Package report is what a run ends in: figures with their goals, tables, plots and notes, written as a table
// for a terminal, as JSON for machines, and as one HTML page that needs nothing else. Two reports can be
// compared figure by figure.
package report
