package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// listenFlag gives a command that opens connections the addresses to accept
// them on.
func listenFlag(cmd *cobra.Command, listen *[]string) {
	flags := cmd.Flags()
	flags.StringSliceVar(listen, "listen", addrsFrom("ANABRANCH_LISTEN"), "accept peers on this `ip:port`; port 0 is any free one (may be repeated; ANABRANCH_LISTEN; default: every interface, port 4471)")
	flags.Lookup("listen").DefValue = "[]"
}

func peerFlags(cmd *cobra.Command, peers *[]string) {
	cmd.Flags().StringSliceVar(peers, "peer", nil, "look for members at this `[DEVICE@]ip:port` (may be repeated)")
}

func addrsFrom(variable string) []string {
	return strings.FieldsFunc(os.Getenv(variable), func(c rune) bool { return c == ',' || c == ' ' })
}

// namedPeer is an address that belongs to one device, by a prefix of its key.
type namedPeer struct{ device, addr string }

// splitPeers tells addresses that may be anybody's from those of one device.
func splitPeers(peers []string) (anyone []string, named []namedPeer, err error) {
	for _, p := range peers {
		device, addr, err := peerFlag(p)
		switch {
		case err != nil:
			return nil, nil, err
		case device == "":
			anyone = append(anyone, addr)
		default:
			named = append(named, namedPeer{device, addr})
		}
	}
	return anyone, named, nil
}
