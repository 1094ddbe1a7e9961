package text

// Len is the length of the visible text in runes.
func (d *Doc) Len() int { return int(d.length) }
