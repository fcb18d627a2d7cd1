// Package sim is in work.
package sim
