package replay

// The report as one picture.

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"math"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"
)

const (
	pixels      = 2 // for each unit of a plot, along each side
	pngColumns  = 2 // of plots
	pngMargin   = 20.0
	pngRow      = 20.0 // of the table
	pngCell     = 100.0
	pngName     = 200.0 // width of the table's first column
	mostPNGRows = 64    // of plots: more of a picture is not made
)

// WritePNG writes the page as a picture: the table, and the plots two by two. The
// same report is the same bytes.
func (r *Report) WritePNG(to io.Writer) error {
	plots := r.plots()
	rows := min((len(plots)+pngColumns-1)/pngColumns, mostPNGRows)
	table := pngMargin + pngRow*float64(len(r.Results)+3)
	c, err := newPNGCanvas(pngColumns*plotWidth+2*pngMargin, table+float64(rows)*plotHeight+pngMargin)
	if err != nil {
		return fmt.Errorf("cannot draw the report: %w", err)
	}
	r.table(c)
	for i, p := range plots[:min(len(plots), rows*pngColumns)] {
		c.origin = place{pngMargin + float64(i%pngColumns)*plotWidth, table + float64(i/pngColumns)*plotHeight}
		p.draw(c)
	}
	return png.Encode(to, c.image)
}

// table draws the title and the figures.
func (r *Report) table(on canvas) {
	row := func(line int, cells []string, bold bool) {
		y := pngMargin + pngRow*float64(line+1)
		on.write(place{pngMargin, y}, cells[0], lettering{bold: bold})
		for i, text := range cells[1:] {
			on.write(place{pngMargin + pngName + pngCell*float64(i+1), y}, text, lettering{anchor: atEnd, bold: bold})
		}
	}
	row(0, []string{r.Title}, true)
	row(1, columns[:], true)
	for i, x := range r.Results {
		cells := x.cells()
		row(i+2, cells[:], false)
	}
}

// pngCanvas is a canvas of pixels. Places count from origin.
type pngCanvas struct {
	image          *image.RGBA
	regular, heavy font.Face
	shape          vector.Rasterizer
	origin         place
}

func newPNGCanvas(width, height float64) (*pngCanvas, error) {
	c := &pngCanvas{image: image.NewRGBA(image.Rect(0, 0, int(width*pixels), int(height*pixels)))}
	draw.Draw(c.image, c.image.Bounds(), image.White, image.Point{}, draw.Src)
	var err error
	if c.regular, err = face(goregular.TTF, 11); err != nil {
		return nil, err
	}
	c.heavy, err = face(gobold.TTF, 13)
	return c, err
}

func face(ttf []byte, size float64) (font.Face, error) {
	f, err := opentype.Parse(ttf)
	if err != nil {
		return nil, err
	}
	return opentype.NewFace(f, &opentype.FaceOptions{Size: size * pixels, DPI: 72, Hinting: font.HintingNone})
}

// line draws a rectangle for each two points.
func (c *pngCanvas) line(points []place, width float64, colour string) {
	if len(points) < 2 {
		return
	}
	box := c.around(points, width)
	corner := place{float64(box.Min.X), float64(box.Min.Y)}
	c.shape.Reset(box.Dx(), box.Dy())
	for i := range points[1:] {
		a, b := c.pixel(points[i]).from(corner), c.pixel(points[i+1]).from(corner)
		long := math.Hypot(b.x-a.x, b.y-a.y)
		if long == 0 {
			continue
		}
		// Half a width to each side, and beyond both ends, so that corners are whole.
		dx, dy := (b.x-a.x)/long*width*pixels/2, (b.y-a.y)/long*width*pixels/2
		c.shape.MoveTo(float32(a.x-dx+dy), float32(a.y-dy-dx))
		c.shape.LineTo(float32(b.x+dx+dy), float32(b.y+dy-dx))
		c.shape.LineTo(float32(b.x+dx-dy), float32(b.y+dy+dx))
		c.shape.LineTo(float32(a.x-dx-dy), float32(a.y-dy+dx))
		c.shape.ClosePath()
	}
	c.shape.Draw(c.image, box, image.NewUniform(colourOf(colour)), image.Point{})
}

// around is the part of the picture that a line through the points is in.
func (c *pngCanvas) around(points []place, width float64) image.Rectangle {
	var box image.Rectangle
	for _, p := range points {
		at, reach := c.pixel(p), int(width*pixels)+1
		box = box.Union(image.Rect(int(at.x)-reach, int(at.y)-reach, int(at.x)+reach, int(at.y)+reach))
	}
	return box.Intersect(c.image.Bounds())
}

func (p place) from(corner place) place { return place{p.x - corner.x, p.y - corner.y} }

func (c *pngCanvas) pixel(p place) place {
	return place{(c.origin.x + p.x) * pixels, (c.origin.y + p.y) * pixels}
}

func (c *pngCanvas) write(at place, text string, as lettering) {
	d := font.Drawer{Dst: c.image, Src: image.NewUniform(colourOf("#333333")), Face: c.regular}
	if as.bold {
		d.Face = c.heavy
	}
	long, at := float64(d.MeasureString(text))/64, c.pixel(at)
	back := long * [...]float64{atStart: 0, atMiddle: 0.5, atEnd: 1}[as.anchor]
	if !as.upward {
		d.Dot = fixed.Point26_6{X: fixed.Int26_6((at.x - back) * 64), Y: fixed.Int26_6(at.y * 64)}
		d.DrawString(text)
		return
	}
	// Written on a strip of its own, and turned.
	m := d.Face.Metrics()
	strip := image.NewRGBA(image.Rect(0, 0, int(long)+1, (m.Ascent + m.Descent).Ceil()))
	d.Dst, d.Dot = strip, fixed.Point26_6{Y: m.Ascent}
	d.DrawString(text)
	left, bottom := int(at.x)-m.Ascent.Ceil(), int(at.y+back)
	for y := range strip.Rect.Dy() {
		for x := range strip.Rect.Dx() {
			if p := strip.RGBAAt(x, y); p.A > 0 {
				to := image.Rect(left+y, bottom-x, left+y+1, bottom-x+1)
				draw.Draw(c.image, to, image.NewUniform(p), image.Point{}, draw.Over)
			}
		}
	}
}

// colourOf reads a colour such as #0072b2, one of ours.
func colourOf(text string) color.RGBA {
	c := color.RGBA{A: 0xff}
	if n, err := fmt.Sscanf(text, "#%02x%02x%02x", &c.R, &c.G, &c.B); n != 3 || err != nil {
		panic("BUG: no colour: " + text)
	}
	return c
}
