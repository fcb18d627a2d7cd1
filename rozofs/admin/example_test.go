package admin_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/rozofs-go/rozo/rozofs/admin"
)

// A program brings up a cluster, sees a storage fail and come back, and ends it.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	c, err := admin.Up(ctx, admin.Options{Dir: "/tmp/data", Mount: "/tmp/mnt", Layout: "0", Bin: "bin"}, os.Stderr)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.Kill(ctx, "storaged-3", os.Stderr); err != nil {
		log.Print(err)
	}
	if s, err := c.Status(ctx); err == nil {
		fmt.Println(s.Healthy) // false
	}
	if err := c.Start(ctx, "storaged-3", os.Stderr); err != nil {
		log.Print(err)
	}
	if err := c.Down(ctx, os.Stderr); err != nil {
		log.Print(err)
	}
}
