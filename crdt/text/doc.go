// Package text is collaborative plain text.
package text
