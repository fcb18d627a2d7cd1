// Command rozofsmount mounts an export; linked to /sbin/mount.rozofs it is the
// helper of mount(8) for the type rozofs. See package rozofsmount.
package main

import (
	"os"

	"github.com/rozofs-go/rozo/rozofsmount"
)

func main() {
	os.Exit(rozofsmount.Main(os.Args, os.Stdout, os.Stderr))
}
