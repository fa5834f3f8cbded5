package report

func (r *Reporter) writePage(d *Document) error { return nil }
