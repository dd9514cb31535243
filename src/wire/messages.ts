/**
 * The number of every message on the edges between Kwyre's processes, and the file descriptor of each edge.
 *
 * Orders and requests have even numbers; reports and responses have odd numbers.
 *
 * Data edge:    gateway to engine: request.*, response.credit; engine to gateway: response.* (`data-payloads.ts`)
 * Control edge: supervisor to child: orders; child to supervisor: reports (`control-payloads.ts`)
 *
 * Trust: request bodies travel as opaque bytes; no control message carries conversation text.
 * @module
 */

/** File descriptors that the jail stage keeps open across `execve`. */
export const descriptors = {
  control: 3,
  data: 4,
  /** Watchdog: the netlink socket for sock_diag queries. */
  diag: 4,
  /** Gateway: the TCP listener. */
  listener: 5,
  /** Engine: the model file, read-only. */
  model: 5,
  /** Gateway: the optional Unix listener. */
  unixListener: 6,
  /** Engine: the working set, shared with the supervisor. */
  working: 6,
  /** Engine: the second file of a split model. Further files follow in order. */
  parts: 32,
  /** Engine: secret memory, created by its jail stage. */
  secret: 200,
} as const;

export const dataMessages = {
  requestOpen: 2,
  requestBody: 4,
  requestEnd: 6,
  requestAbort: 8,
  responseCredit: 10,
  responseHead: 1,
  responseBody: 3,
  responseEnd: 5,
  /** The engine cannot finish the response; the gateway ends it with an error. */
  responseAbort: 7,
} as const;

export const controlMessages = {
  configure: 0x40,
  ping: 0x42,
  stop: 0x44,
  tokensSet: 0x46,
  statusAnswer: 0x48,
  /** Gateway: whether to accept new conversations, and whether the engine is ready. Replaces the configured value. */
  intake: 0x4a,
  /** Gateway and engine: the machine was suspended; cancel running turns. */
  pause: 0x4c,
  /** Watchdog: the processes to watch from now on. */
  watch: 0x50,
  enforced: 0x41,
  pong: 0x43,
  ready: 0x45,
  failed: 0x47,
  statusRequest: 0x49,
  event: 0x4b,
  /** Gateway: the data edge has closed and every request in flight has been answered. */
  drained: 0x4d,
  /** Gateway and engine: this process did not run for a while. */
  late: 0x4f,
  /** Watchdog: the result of one scan. */
  scanned: 0x51,
  /** Watchdog: a heartbeat and its lateness. */
  beat: 0x53,
} as const;

/** The number on the wire of each route that the gateway forwards to the engine. */
export const engineRoutes = {
  chatCompletions: 1,
  modelsList: 2,
  modelGet: 3,
  conversationCreate: 4,
  conversationGet: 5,
  conversationDelete: 6,
  itemsList: 7,
  itemsAppend: 8,
  sessionsList: 9,
  sessionGet: 10,
  sessionDelete: 11,
  sessionsDelete: 12,
  responseCreate: 13,
  responseGet: 14,
  responseDelete: 15,
} as const;
export type EngineRoute = (typeof engineRoutes)[keyof typeof engineRoutes];
