package main

import (
	"errors"
	"log"
	"net"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// serveUDP replies from the address that it was asked at. In a namespace with
// several, the one that the system would choose is another, and no client would
// take that reply for its own.
func serveUDP(port, id string) error {
	four, err4 := net.ListenPacket("udp4", ":"+port)
	six, err6 := net.ListenPacket("udp6", ":"+port)
	if err4 != nil && err6 != nil { // one of the families may be off
		return errors.Join(err4, err6)
	}
	failed := make(chan error, 2)
	if err4 == nil {
		go func() { failed <- replyIPv4(ipv4.NewPacketConn(four), id) }()
	}
	if err6 == nil {
		go func() { failed <- replyIPv6(ipv6.NewPacketConn(six), id) }()
	}
	return <-failed
}

func replyIPv4(pc *ipv4.PacketConn, id string) error {
	if err := pc.SetControlMessage(ipv4.FlagDst, true); err != nil {
		return err
	}
	buf := make([]byte, 1500)
	for {
		n, cm, from, err := pc.ReadFrom(buf)
		if err != nil {
			return err
		}
		if cm != nil {
			cm = &ipv4.ControlMessage{Src: cm.Dst}
		}
		if _, err := pc.WriteTo(reply(id, buf[:n]), cm, from); err != nil {
			log.Printf("udp: %v", err)
		}
	}
}

func replyIPv6(pc *ipv6.PacketConn, id string) error {
	if err := pc.SetControlMessage(ipv6.FlagDst, true); err != nil {
		return err
	}
	buf := make([]byte, 1500)
	for {
		n, cm, from, err := pc.ReadFrom(buf)
		if err != nil {
			return err
		}
		if cm != nil {
			cm = &ipv6.ControlMessage{Src: cm.Dst}
		}
		if _, err := pc.WriteTo(reply(id, buf[:n]), cm, from); err != nil {
			log.Printf("udp: %v", err)
		}
	}
}

func reply(id string, datagram []byte) []byte { return append([]byte(id+" "), datagram...) }
