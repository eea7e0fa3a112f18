// Command fixtures makes what the device test needs, signed by snapd's own code:
//
//	fixtures make DIR URL ARCH         snaps, assertions, stores and devices
//	fixtures relay FROM TO LOG RATE    a slow wire that keeps a record
//
// Chain of trust: snapd's public test root -> test store key -> accounts,
// declarations, revisions, the store assertion; brand key -> model, serial,
// validation sets. Brand and device keys are new each time and thrown away.
//
// DIR gets (each .assert is a stream with everything it needs, in order):
//
//	root.assert                what `proxy trust add` takes
//	keys.assert                both brands' accounts and keys
//	store.assert               what `proxy register --import` takes
//	fleet_1.assert, fleet_2.assert    two sequences of one validation set
//	acme.json, bolt.json       brand store metadata
//	snaps/NAME_REV.snap, .assert
//	device-BRAND/              goes over a device's /var/lib/snapd
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/snapcore/snapd/asserts"
	"github.com/snapcore/snapd/asserts/assertstest"
	"github.com/snapcore/snapd/asserts/systestkeys"
)

const (
	authority = "testrootorg"
	signedAt  = "2024-05-06T07:08:09Z"
	storeID   = "AirlockDeviceTest"
)

type headers = map[string]interface{}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

type maker struct {
	dir   string
	known *asserts.Database // all that was signed; refuses what a device would refuse
	root  *assertstest.SigningDB
	store *assertstest.SigningDB
}

func (m *maker) write(name string, content []byte) {
	path := filepath.Join(m.dir, name)
	check(os.MkdirAll(filepath.Dir(path), 0755))
	check(os.WriteFile(path, content, 0644))
}

func (m *maker) writeJSON(name string, value interface{}) {
	content, err := json.Marshal(value)
	check(err)
	m.write(name, content)
}

func (m *maker) sign(by *assertstest.SigningDB, kind *asserts.AssertionType, h headers, body []byte) asserts.Assertion {
	h["timestamp"] = signedAt
	if kind.PrimaryKey[0] == "series" {
		h["series"] = "16"
	}
	a, err := by.Sign(kind, h, body, "")
	check(err)
	check(m.known.Add(a))
	return a
}

// stream joins the given assertions and all that is needed to check them,
// prerequisites first; the built-in root of trust is left out.
func (m *maker) stream(wanted ...asserts.Assertion) []byte {
	var out bytes.Buffer
	enc := asserts.NewEncoder(&out)
	done := map[string]bool{}
	var add func(a asserts.Assertion)
	need := func(ref *asserts.Ref) {
		a, err := ref.Resolve(m.known.Find)
		check(err)
		add(a)
	}
	for _, a := range systestkeys.Trusted {
		done[a.Ref().Unique()] = true
	}
	add = func(a asserts.Assertion) {
		if done[a.Ref().Unique()] {
			return
		}
		done[a.Ref().Unique()] = true
		for _, ref := range a.Prerequisites() {
			need(ref)
		}
		need(&asserts.Ref{Type: asserts.AccountKeyType, PrimaryKey: []string{a.SignKeyID()}})
		check(enc.Encode(a))
	}
	for _, a := range wanted {
		add(a)
	}
	return out.Bytes()
}

// snapID is the name, filled up to the length that ids have.
func snapID(name string) string {
	return (strings.ReplaceAll(name, "-", "") + strings.Repeat("0", 32))[:32]
}

// account makes a brand: its account and the key it signs with.
func (m *maker) account(id string) (*assertstest.SigningDB, asserts.Assertion) {
	m.sign(m.store, asserts.AccountType, headers{
		"account-id": id, "display-name": strings.Title(id), "username": id, "validation": "verified",
	}, nil)
	key, _ := assertstest.GenerateKey(4096)
	public, err := asserts.EncodePublicKey(key.PublicKey())
	check(err)
	a := m.sign(m.root, asserts.AccountKeyType, headers{
		"account-id": id, "name": "default", "public-key-sha3-384": key.PublicKey().ID(), "since": signedAt,
	}, public)
	return assertstest.NewSigningDB(id, key), a
}

type snap struct {
	name, kind, publisher string
	revisions             int
	payload               int // bytes that do not compress
}

// make writes every revision of a snap; revision N has version N.0.
func (m *maker) snap(s snap) {
	h := headers{"snap-id": snapID(s.name), "snap-name": s.name, "publisher-id": s.publisher}
	if s.kind == "snapd" { // or its own slot for this would keep it from being installed
		h["slots"] = headers{"shared-memory": headers{"allow-installation": "true"}}
		h["format"] = "1"
	}
	m.sign(m.store, asserts.SnapDeclarationType, h, nil)
	for rev := 1; rev <= s.revisions; rev++ {
		tree := filepath.Join(m.dir, "tree")
		check(os.MkdirAll(filepath.Join(tree, "meta"), 0755))
		yaml := fmt.Sprintf("name: %s\nversion: '%d.0'\ntype: %s\nsummary: Test snap %s\n"+
			"description: Made for the device test.\nlicense: MIT\nconfinement: strict\ngrade: stable\n",
			s.name, rev, s.kind, s.name)
		if s.kind == "app" {
			yaml += "base: test-base\n"
		}
		m.write("tree/meta/snap.yaml", []byte(yaml))
		if s.kind == "snapd" {
			m.write("tree/usr/lib/snapd/info", []byte("VERSION=1.0\n"))
		}
		payload := make([]byte, s.payload)
		rand.New(rand.NewSource(int64(rev))).Read(payload)
		m.write("tree/payload", payload)

		base := filepath.Join(m.dir, "snaps", fmt.Sprintf("%s_%d", s.name, rev))
		check(os.MkdirAll(filepath.Dir(base), 0755))
		out, err := exec.Command("mksquashfs", tree, base+".snap", "-noappend", "-comp", "xz", "-noD",
			"-no-fragments", "-all-root", "-no-xattrs", "-quiet", "-no-progress").CombinedOutput()
		if err != nil {
			log.Fatalf("mksquashfs: %v: %s", err, out)
		}
		check(os.RemoveAll(tree))
		digest, size, err := asserts.SnapFileSHA3_384(base + ".snap")
		check(err)
		a := m.sign(m.store, asserts.SnapRevisionType, headers{
			"snap-sha3-384": digest, "snap-size": strconv.FormatUint(size, 10), "snap-id": snapID(s.name),
			"snap-revision": strconv.Itoa(rev), "developer-id": s.publisher,
		}, nil)
		check(os.WriteFile(base+".assert", m.stream(a), 0644))
	}
}

// device lays out what makes a device of the brand out of an untouched snapd.
func (m *maker) device(brand string, by *assertstest.SigningDB, brandStore, arch string) {
	model := m.sign(by, asserts.ModelType, headers{
		"brand-id": brand, "model": brand + "-box", "classic": "true", "architecture": arch, "store": brandStore,
	}, nil)
	key, _ := assertstest.GenerateKey(2048)
	public, err := asserts.EncodePublicKey(key.PublicKey())
	check(err)
	serial := m.sign(by, asserts.SerialType, headers{
		"brand-id": brand, "model": brand + "-box", "serial": brand + "-0001",
		"device-key": string(public), "device-key-sha3-384": key.PublicKey().ID(),
	}, nil)
	dir := "device-" + brand
	m.write(dir+"/seed/assertions/device", m.stream(model, serial))
	keys, err := asserts.OpenFSKeypairManager(filepath.Join(m.dir, dir, "device"))
	check(err)
	check(keys.Put(key))
	m.writeJSON(dir+"/state.json", headers{
		"data": headers{
			"auth": headers{"device": headers{
				"brand": brand, "model": brand + "-box", "serial": brand + "-0001", "key-id": key.PublicKey().ID(),
			}},
			"patch-level": 6,
		},
		"changes": headers{}, "tasks": headers{},
	})
}

// brandStore writes what `proxy push-brand-store-metadata` takes.
func (m *maker) brandStore(brand, id string, snaps ...string) {
	list := []headers{}
	for _, name := range []string{"snapd", "test-base"} {
		list = append(list, headers{"id": snapID(name), "name": name, "essential": true, "private": false, "store": "ubuntu"})
	}
	for _, name := range snaps {
		list = append(list, headers{"id": snapID(name), "name": name, "essential": false, "private": true, "store": id})
	}
	for _, s := range list {
		s["other-stores"], s["included-stores"], s["users"] = []string{}, []string{}, []string{}
	}
	m.writeJSON(brand+".json", headers{
		"format": 1,
		"stores": []headers{{
			"id": id, "brand-id": brand, "name": strings.Title(brand) + " Devices", "private": true, "parent": nil,
			"store-whitelist": []string{}, "allowed-inclusion-source-stores": []string{},
			"allowed-inclusion-target-stores": []string{},
		}},
		"snaps": headers{id: list},
	})
}

func (m *maker) validationSet(by *assertstest.SigningDB, sequence int, snaps ...interface{}) {
	a := m.sign(by, asserts.ValidationSetType, headers{
		"account-id": "acme", "name": "fleet", "sequence": strconv.Itoa(sequence), "snaps": snaps,
	}, nil)
	m.write(fmt.Sprintf("fleet_%d.assert", sequence), m.stream(a))
}

func makeAll(dir, url, arch string) {
	rootKey, _ := assertstest.ReadPrivKey(systestkeys.TestRootPrivKey)
	storeKey, _ := assertstest.ReadPrivKey(systestkeys.TestStorePrivKey)
	known, err := asserts.OpenDatabase(&asserts.DatabaseConfig{
		Backstore: asserts.NewMemoryBackstore(), Trusted: systestkeys.Trusted,
	})
	check(err)
	check(known.Add(systestkeys.TestStoreAccountKey))
	m := &maker{
		dir: dir, known: known,
		root:  assertstest.NewSigningDB(authority, rootKey),
		store: assertstest.NewSigningDB(authority, storeKey),
	}
	var root bytes.Buffer
	enc := asserts.NewEncoder(&root)
	for _, a := range systestkeys.Trusted {
		check(enc.Encode(a))
	}
	m.write("root.assert", root.Bytes())

	acme, acmeKey := m.account("acme")
	bolt, boltKey := m.account("bolt")
	m.write("keys.assert", m.stream(acmeKey, boltKey))
	m.write("store.assert", m.stream(m.sign(m.store, asserts.StoreType, headers{
		"store": storeID, "operator-id": "acme", "url": url,
	}, nil)))

	m.snap(snap{name: "snapd", kind: "snapd", publisher: "acme", revisions: 1})
	m.snap(snap{name: "test-base", kind: "base", publisher: "acme", revisions: 1})
	m.snap(snap{name: "hello", kind: "app", publisher: "acme", revisions: 4, payload: 100000})
	m.snap(snap{name: "big", kind: "app", publisher: "acme", revisions: 1, payload: 20000000})
	m.snap(snap{name: "bolt-tool", kind: "app", publisher: "bolt", revisions: 1})

	m.brandStore("acme", "AcmeDevices", "hello", "big")
	m.brandStore("bolt", "BoltDevices", "bolt-tool")
	m.device("acme", acme, "AcmeDevices", arch)
	m.device("bolt", bolt, "BoltDevices", arch)

	m.validationSet(acme, 1, headers{"name": "hello", "id": snapID("hello"), "presence": "required", "revision": "1"})
	m.validationSet(acme, 2, headers{"name": "hello", "id": snapID("hello"), "presence": "required", "revision": "2"},
		headers{"name": "big", "id": snapID("big"), "presence": "invalid"})
}

// relay passes bytes on between devices and the server; from the server no faster
// than rate bytes a second, so that a download can be broken in the middle. The
// log gets all that devices send, and the heads of the answers.
func relay(from, to, logName string, rate int) {
	record, err := os.OpenFile(logName, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0644)
	check(err)
	listener, err := net.Listen("tcp", from)
	check(err)
	for {
		device, err := listener.Accept()
		check(err)
		go func() {
			defer device.Close()
			server, err := net.Dial("tcp", to)
			if err != nil {
				return
			}
			defer server.Close()
			// what the server has sent is what the device has got, almost
			check(server.(*net.TCPConn).SetReadBuffer(64 << 10))
			go func() {
				io.Copy(io.MultiWriter(server, record), device)
				server.(*net.TCPConn).CloseWrite()
			}()
			chunk := make([]byte, 64<<10)
			for {
				n, err := server.Read(chunk)
				if head := bytes.Index(chunk[:n], []byte("\r\n\r\n")); head > 0 && bytes.HasPrefix(chunk, []byte("HTTP/1.1 ")) {
					record.Write(append([]byte("\r\n"), chunk[:head+4]...))
				}
				if _, failed := device.Write(chunk[:n]); err != nil || failed != nil {
					return
				}
				time.Sleep(time.Second * time.Duration(n) / time.Duration(rate))
			}
		}()
	}
}

func main() {
	log.SetFlags(0)
	args := os.Args[1:]
	switch {
	case len(args) == 4 && args[0] == "make":
		makeAll(args[1], args[2], args[3])
	case len(args) == 5 && args[0] == "relay":
		rate, err := strconv.Atoi(args[4])
		check(err)
		relay(args[1], args[2], args[3], rate)
	default:
		log.Fatal("usage: fixtures make DIR URL ARCH | fixtures relay FROM TO LOG RATE")
	}
}
