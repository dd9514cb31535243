/**
 * Detects captures of loopback traffic by any process: packet sockets, raw TCP sockets, and other receivers of packets.
 *
 * Packet sockets count if they receive Internet packets (all protocols, IPv4 or IPv6) on the loopback interface or on
 * all interfaces. Raw sockets for TCP count because they receive a copy of every TCP packet. A packet socket for
 * another protocol (Wi-Fi keys, LLDP, ARP) or on another interface (DHCP) does not see this traffic (L6-22). In the
 * kernel's list of packet receivers, an entry counts if it belongs neither to the kernel itself nor to a packet socket.
 *
 * Limits:  eBPF, and captures inside the kernel's own receivers, are not detected (L6-14).
 * Source:  packet(7), raw(7), net/packet/af_packet.c, net/core/net-procfs.c
 * Proof:   test/unit/layers/6-all-detectors.test.ts, test/attacks/6-capture.test.ts
 * @module
 */
import type { PacketTap, SocketRow } from '../../../linux/procfs/net-tables.ts';
import { allProtocols, loopbackIndex, loopbackName } from '../../../linux/procfs/net-tables.ts';
import type { Detection, Finding } from '../finding.ts';
import { cleanName, fullVisibility } from '../finding.ts';
import type { Snapshot } from '../scan-result.ts';
import { seen } from '../scan-result.ts';

/** Ethernet types of receivers that see the server's packets. */
const internet: ReadonlySet<number> = new Set([allProtocols, 0x0800, 0x86dd]);
/** The kernel's own receivers of Internet packets, and those of packet sockets, which are listed in another table. */
const knownReaders: ReadonlySet<string> = new Set([
  'ip_rcv',
  'ipv6_rcv',
  'packet_rcv',
  'packet_rcv_fanout',
  'packet_rcv_spkt',
  'tpacket_rcv',
]);
const tcp = 6;

/** Returns whether a socket sees the traffic of the loopback interface. */
export function capturesLoopback(row: SocketRow): boolean {
  if (row.table === 'packet') {
    return internet.has(row.protocol) && (row.interface === 0 || row.interface === loopbackIndex);
  }
  return (row.table === 'raw' || row.table === 'raw6') && row.protocol === tcp;
}

/** Returns whether a receiver of packets is not a socket and sees the traffic of the loopback interface. */
function taps(tap: PacketTap): boolean {
  return (
    internet.has(tap.protocol) &&
    (tap.device === '' || tap.device === loopbackName) &&
    tap.reader !== '' &&
    !knownReaders.has(tap.reader)
  );
}

/** Finds captures on the loopback interface. */
export function detectCapture(snapshot: Snapshot): Detection {
  const rows = seen(snapshot.rows);
  if (rows === undefined)
    return { detector: 'capture', seen: 'unreadable', reason: 'the socket tables cannot be read', findings: [] };
  const findings = rows.filter(capturesLoopback).map((row): Finding => {
    const owner = (seen(snapshot.processes) ?? []).find((process) => process.captures.includes(row.inode));
    return {
      detector: 'capture',
      relation: 'effect',
      pid: owner?.pid ?? 0,
      uid: owner?.uid ?? row.uid,
      name: owner === undefined ? '?' : cleanName(owner.executable === '' ? owner.name : owner.executable),
      what:
        row.table === 'packet'
          ? `captures ${row.interface === loopbackIndex ? 'the loopback interface' : 'every interface'}`
          : 'receives a copy of every TCP packet through a raw socket',
    };
  });
  for (const tap of (seen(snapshot.taps) ?? []).filter(taps))
    findings.push({
      detector: 'capture',
      relation: 'effect',
      pid: 0,
      uid: 0,
      name: cleanName(tap.reader),
      what: 'a kernel module receives a copy of every packet',
    });
  if (!('value' in snapshot.taps))
    return { detector: 'capture', seen: 'unreadable', reason: 'the list of packet receivers cannot be read', findings };
  return { detector: 'capture', ...fullVisibility, findings };
}
