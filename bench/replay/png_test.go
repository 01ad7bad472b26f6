package replay

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The picture is the same bytes for the same report, has a line of each policy's
// colour in each plot, and its texts are where they belong.
func TestPNG(t *testing.T) {
	trace := traffic(t, "mixed", 120)
	configs := []Config{New(trace, "adaptive"), New(trace, "round_robin")}
	r := &Report{
		Title: "8 × h100", Results: []*Result{run(t, configs[0]), run(t, configs[1])},
		Sweep: []Load{{0.5, []float64{0.2, 0.3}}, {1, []float64{0.4, 2}}, {2, []float64{0.9, 30}}},
	}
	var one, two bytes.Buffer
	require.NoError(t, r.WritePNG(&one))
	require.NoError(t, r.WritePNG(&two))
	require.Equal(t, one.Bytes(), two.Bytes())
	picture, err := png.Decode(&one)
	require.NoError(t, err)
	top := pngMargin + pngRow*5
	assert.Equal(t, image.Rect(0, 0, 2*1320, 2*int(top+3*plotHeight+pngMargin)), picture.Bounds())

	has := func(x, y, width, height float64, colour string) (n int) {
		want := colourOf(colour)
		for px := int(x * pixels); px < int((x+width)*pixels); px++ {
			for py := int(y * pixels); py < int((y+height)*pixels); py++ {
				if color.RGBAModel.Convert(picture.At(px, py)) == want {
					n++
				}
			}
		}
		return n
	}
	for i := range 5 { // plots
		left, above := pngMargin+float64(i%2)*plotWidth, top+float64(i/2)*plotHeight
		for _, colour := range []string{"#0072b2", "#d55e00"} {
			assert.Greater(t, has(left+plotLeft, above+plotTop, plotRight-plotLeft, plotBottom-plotTop, colour), 50, "plot %d", i)
			assert.Greater(t, has(left+legendX, above+plotTop, legendSwatch, 40, colour), 30, "plot %d", i)
		}
		assert.Positive(t, has(left+plotLeft, above, 200, 20, "#333333"), "its title")
		assert.Positive(t, has(left, above+plotTop, 20, plotBottom-plotTop, "#333333"), "what goes upward")
		assert.Positive(t, has(left+plotLeft, above+plotBottom+20, plotRight-plotLeft, 20, "#333333"), "what goes along")
	}
	assert.Positive(t, has(pngMargin, pngMargin, 400, pngRow, "#333333"), "the title")
	assert.Zero(t, has(pngMargin+plotWidth, top+2*plotHeight, plotWidth, plotHeight, "#333333"), "there are five plots")

	require.NoError(t, (&Report{Results: []*Result{{Policy: "none"}}}).WritePNG(&two)) // of nothing too
}
