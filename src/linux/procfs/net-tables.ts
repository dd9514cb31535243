/**
 * The kernel's tables of sockets in one network namespace (`/proc/PID/net/*`): pure parsers.
 *
 * Trust:  every table is numbers but `unix`: there the path is a stranger's, and an abstract one may hold line feeds
 *         and with them whole rows. Nothing is concluded from that table; `sock-diag.ts` asks for one socket.
 * Limits: a socket that was made but neither bound nor connected is in no table; nor are vsock, XDP and the outer
 *         socket of Multipath TCP. `parseSocketCount` counts them; a descriptor tells who holds one.
 * Source: proc_net(5), net/packet/af_packet.c, net/netlink/af_netlink.c
 * Proof:  test/unit/linux/tasks.test.ts
 * @module
 */

/** Tables that are read; the ones that a kernel does not have are left out. */
export const socketTables = [
  'tcp',
  'tcp6',
  'udp',
  'udp6',
  'udplite',
  'udplite6',
  'raw',
  'raw6',
  'icmp',
  'icmp6',
  'packet',
  'netlink',
  'unix',
] as const;
export type SocketTable = (typeof socketTables)[number];

/** One socket. */
export type SocketRow = {
  readonly table: SocketTable;
  /** 0 for a socket that no descriptor holds any more (TIME_WAIT). */
  readonly inode: number;
  readonly uid: number;
  /** Kernel's number of the state (1 established, 10 listening), 0 where the table has none. */
  readonly state: number;
  /** Kernel's hex form `0100007F:1F40` (inet), path (unix), empty otherwise. */
  readonly local: string;
  readonly remote: string;
  /** Protocol: Ethernet type (packet), IP protocol (raw), netlink family (netlink), else 0. */
  readonly protocol: number;
  /** Index of the interface (packet): 0 for all of them. */
  readonly interface: number;
};

/** Name of the loopback interface where nobody renamed it. */
export const loopbackName = 'lo';

/** State of a listening TCP socket. */
export const listening = 10;
/** State of a TCP socket that is neither connected nor listening. */
export const closed = 7;
/** Every Ethernet type: what a capture asks for. */
export const allProtocols = 3;
/** The loopback interface has this index in every network namespace. */
export const loopbackIndex = 1;

const blank = { uid: 0, state: 0, local: '', remote: '', protocol: 0, interface: 0 } as const;

function row(table: SocketTable, line: string): SocketRow | undefined {
  const fields = line.trim().split(/ +/);
  const at = (index: number): string => fields[index] ?? '';
  switch (table) {
    case 'packet':
      // sk RefCnt Type Proto Iface R Rmem User Inode
      return fields.length < 9
        ? undefined
        : {
            ...blank,
            table,
            protocol: Number.parseInt(at(3), 16),
            interface: Number(at(4)),
            uid: Number(at(7)),
            inode: Number(at(8)),
          };
    case 'netlink':
      // sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode; the kernel's own end has pid 0
      return fields.length < 10 || at(2) === '0'
        ? undefined
        : { ...blank, table, protocol: Number(at(1)), inode: Number(at(9)) };
    case 'unix':
      // Num RefCount Protocol Flags Type St Inode Path; whoever made the socket chose the path, blanks and all
      return fields.length < 7
        ? undefined
        : {
            ...blank,
            table,
            state: Number.parseInt(at(5), 16),
            inode: Number(at(6)),
            local: /^\S+:(?: +\S+){6} (.*)$/.exec(line)?.[1] ?? '',
          };
    default: {
      // sl local remote st tx:rx tr:when retrnsmt uid timeout inode
      if (fields.length < 10) return undefined;
      const port = at(1).slice(at(1).indexOf(':') + 1);
      const protocol = table.startsWith('raw') ? Number.parseInt(port, 16) : 0;
      return {
        ...blank,
        table,
        protocol,
        local: at(1),
        remote: at(2),
        state: Number.parseInt(at(3), 16),
        uid: Number(at(7)),
        inode: Number(at(9)),
      };
    }
  }
}

/** Every socket of one table. */
export function parseSockets(table: SocketTable, text: string): SocketRow[] {
  const rows: SocketRow[] = [];
  for (const line of text.split('\n').slice(1)) {
    if (line === '') continue;
    const parsed = row(table, line);
    if (parsed !== undefined) rows.push(parsed);
  }
  return rows;
}

/**
 * How many sockets of any family a network namespace has, from its `sockstat`; the kernel's own are not counted.
 * Also counts what is in no table. `undefined` when the text is not of that form.
 */
export function parseSocketCount(text: string): number | undefined {
  const match = /^sockets: used (\d+)$/m.exec(text);
  return match === null ? undefined : Number(match[1]);
}

/** A function of the kernel that gets a copy of packets, from `/proc/net/ptype`. */
export type PacketTap = {
  /** Ethernet type; `allProtocols` for all. */
  readonly protocol: number;
  /** The interface's name; empty for all of them. */
  readonly device: string;
  /** The kernel's name of the function; empty where the kernel does not tell. */
  readonly reader: string;
};

/** Every row of `ptype`. Interfaces are named by root; their names hold no blanks and no line feeds. */
export function parseTaps(text: string): PacketTap[] {
  const taps: PacketTap[] = [];
  for (const line of text.split('\n').slice(1)) {
    const match = /^(ALL |[0-9a-f]{4}) (\S*) +(\S+)/.exec(line);
    if (match === null) continue;
    const [, type = '', device = '', reader = ''] = match;
    taps.push({
      protocol: type === 'ALL ' ? allProtocols : Number.parseInt(type, 16),
      device,
      reader: /^[A-Za-z_]/.test(reader) ? reader.replace(/[+.].*$/, '') : '',
    });
  }
  return taps;
}

/** `127.0.0.1:port` as the IPv4 tables write it on the little-endian machines that Kwyre runs on. */
export function loopbackHex(port: number): string {
  return `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
}
