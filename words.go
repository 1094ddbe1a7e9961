package anabranch

import (
	"crypto/sha256"
	"strings"

	"anabranch/record"
)

// Words are four words that both ends of a join show: the inviter and the
// device that joined have the same ones, and nobody who stood between them
// could have.
func (t Ticket) Words(joiner record.Key) string {
	h := sha256.New()
	h.Write([]byte("anabranch words 1"))
	h.Write(t.secret[:])
	h.Write(t.Inviter[:])
	h.Write(joiner[:])
	sum := h.Sum(nil)
	four := make([]string, 4)
	for i := range four {
		four[i] = wordList[sum[i]]
	}
	return strings.Join(four, " ")
}

// wordList has 256 words that are easy to say and hard to confuse.
var wordList = strings.Fields(`
acid acorn album alley amber angle ankle apple april apron arena armor arrow aspen
atlas attic audio autumn award bacon badge baker bamboo banjo barley basin basket beach
beacon beaver berry birch bison blanket bloom board boat border bottle bowl bread brick
bridge broom bronze brush bucket butter button cabin cable cactus camel camera candle canoe
canyon carbon cargo carpet carrot castle cattle cedar cellar cello chain chalk cherry chess
chest circus citrus clay cliff clock cloud clover coast cobalt cocoa coffee comet copper
coral corner cotton cousin cradle crane crater creek cricket crow crystal curtain cymbal dairy
daisy dance desert diary dinner dolphin donkey dragon drum eagle earth easel echo elbow
ember engine evening fabric falcon family farmer feather fennel ferry fiddle field finger flame
flint flute forest fossil fox garden garlic gentle ginger glacier glass globe goose gospel
grape gravel guitar hammer harbor harvest hazel heron hockey honey horse hotel hunter icicle
igloo indigo insect iron island ivory jacket jaguar jasmine jersey jewel jungle kayak kernel
kettle kitchen kitten ladder lagoon lamp lantern laurel lemon lentil letter lily linen lizard
lobster locket lotus magnet mango maple marble market meadow melon mirror mitten monkey mosaic
mountain muffin museum music needle nest nickel nutmeg oak ocean olive onion opera orange
orchid otter oyster paddle palace panda paper parrot pasture peach peanut pebble pencil pepper
piano pigeon pillow pilot pine planet plum pocket pony pumpkin quartz rabbit radio raven
ribbon river rocket saddle salmon sapphire scarf shadow silver spider sunset tiger tulip velvet
violin walnut winter zebra
`)
