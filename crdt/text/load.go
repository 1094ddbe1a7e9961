package text

func (d *Doc) inflateDead() {}
