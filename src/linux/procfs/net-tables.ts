/**
 * The socket tables of a network namespace (`/proc/PID/net/*`): pure parsers.
 *
 * Trust:  all tables contain only numbers, except `unix`, whose paths are untrusted. An abstract name may contain line
 *         feeds and forge whole rows, so no verdict relies on that table; `sock-diag.ts` queries a single socket
 *         instead.
 * Limits: no table lists a socket that is neither bound nor connected, a vsock or XDP socket, or the outer socket of
 *         Multipath TCP. `parseSocketCount` includes them, and the links in `/proc/PID/fd` show which process holds
 *         one.
 * Source: proc_net(5), net/packet/af_packet.c, net/netlink/af_netlink.c
 * Proof:  test/unit/linux/net-tables.test.ts
 * @module
 */

/** The tables that are read; a kernel may lack some of them. */
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
  /** 0 if no descriptor refers to the socket any longer (TIME_WAIT). */
  readonly inode: number;
  readonly uid: number;
  /** The kernel's state number (1 established, 10 listening), 0 if the table has none. */
  readonly state: number;
  /** Address and port in the kernel's hex form, `0100007F:1F40` (inet); the path (unix); otherwise empty. */
  readonly local: string;
  readonly remote: string;
  /** Ethernet type (packet), IP protocol (raw) or netlink family (netlink); otherwise 0. */
  readonly protocol: number;
  /** Interface index (packet), 0 for all interfaces. */
  readonly interface: number;
};

/** Default name of the loopback interface. */
export const loopbackName = 'lo';

/** TCP_LISTEN */
export const listening = 10;
/** TCP_CLOSE: neither connected nor listening. */
export const closed = 7;
/** ETH_P_ALL: packets of every Ethernet type, as a capture requests them. */
export const allProtocols = 3;
/** Index of the loopback interface in every network namespace. */
export const loopbackIndex = 1;

const emptyRow = { uid: 0, state: 0, local: '', remote: '', protocol: 0, interface: 0 } as const;

function row(table: SocketTable, line: string): SocketRow | undefined {
  const fields = line.trim().split(/\s+/);
  const at = (index: number): string => fields[index] ?? '';
  switch (table) {
    case 'packet':
      // sk RefCnt Type Proto Iface R Rmem User Inode
      return fields.length < 9
        ? undefined
        : {
            ...emptyRow,
            table,
            protocol: Number.parseInt(at(3), 16),
            interface: Number(at(4)),
            uid: Number(at(7)),
            inode: Number(at(8)),
          };
    case 'netlink':
      // sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode; the kernel's own sockets have pid 0
      return fields.length < 10 || at(2) === '0'
        ? undefined
        : { ...emptyRow, table, protocol: Number(at(1)), inode: Number(at(9)) };
    case 'unix':
      // Num RefCount Protocol Flags Type St Inode Path; the path is untrusted and may contain spaces
      return fields.length < 7
        ? undefined
        : {
            ...emptyRow,
            table,
            state: Number.parseInt(at(5), 16),
            inode: Number(at(6)),
            local: /^\S+:(?: +\S+){6} (.*)$/s.exec(line)?.[1] ?? '',
          };
    default:
      // sl local remote st tx:rx tr:when retrnsmt uid timeout inode
      return fields.length < 10
        ? undefined
        : {
            ...emptyRow,
            table,
            protocol: table.startsWith('raw') ? portOf(at(1)) : 0,
            local: at(1),
            remote: at(2),
            state: Number.parseInt(at(3), 16),
            uid: Number(at(7)),
            inode: Number(at(9)),
          };
  }
}

/** Returns the port of an address in the kernel's hex form, `NaN` if it has none. */
export function portOf(address: string): number {
  return Number.parseInt(address.slice(address.indexOf(':') + 1), 16);
}

/** Returns every socket of one table; lines of another form are skipped. */
export function parseSockets(table: SocketTable, text: string): SocketRow[] {
  const rows: SocketRow[] = [];
  for (const line of text.split('\n').slice(1)) {
    if (line === '') continue;
    const parsed = row(table, line);
    if (parsed !== undefined) rows.push(parsed);
  }
  return rows;
}

/** Returns the sockets that listen on a port, on any address, from the texts of `tcp` and `tcp6`. */
export function listenersOn(port: number, tables: readonly string[]): SocketRow[] {
  return tables
    .flatMap((text) => parseSockets('tcp', text))
    .filter(({ state, local }) => state === listening && portOf(local) === port);
}

/** Returns the socket that listens on 127.0.0.1:port, from the text of `tcp`. */
export function loopbackListener(port: number, tcp: string): SocketRow | undefined {
  return listenersOn(port, [tcp]).find(({ local }) => local === loopbackHex(port));
}

/**
 * Returns the number of sockets of any family in a network namespace, from its `sockstat`. This includes sockets that
 * no table lists, but not the kernel's own sockets. Returns `undefined` for any other form.
 */
export function parseSocketCount(text: string): number | undefined {
  const match = /^sockets: used (\d+)$/m.exec(text);
  return match === null ? undefined : Number(match[1]);
}

/** A kernel function that receives copies of packets, from `/proc/net/ptype`. */
export type PacketTap = {
  /** Ethernet type; `allProtocols` for every type. */
  readonly protocol: number;
  /** Name of the interface; empty for all interfaces. */
  readonly device: string;
  /** Name of the kernel function; empty if the kernel hides it. */
  readonly reader: string;
};

/** Returns every row of `ptype`. Only root sees interface names; they contain no spaces or line feeds. */
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

/** Returns `127.0.0.1:port` in the hex form of the IPv4 tables on a little-endian machine. */
export function loopbackHex(port: number): string {
  return `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
}
