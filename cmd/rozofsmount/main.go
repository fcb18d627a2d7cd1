package main

import (
	"os"

	"github.com/rozofs-go/rozo/rozofsmount"
)

func main() {
	os.Exit(rozofsmount.Main(os.Args, os.Stdout, os.Stderr))
}
