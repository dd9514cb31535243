/**
 * Opens everything that a server needs before it starts any process, in this order: state folder, model, sockets,
 * jails.
 *
 * Proof: test/e2e/lifecycle.test.ts, test/unit/layers/4-model-resolver.test.ts
 * @module
 */
import { fstatSync, realpathSync, statSync } from 'node:fs';
import type { Config } from '../../base/config.ts';
import { root } from '../../installation/paths.ts';
import { openLoopback } from '../../layers/1-loopback/listener.ts';
import { bindUnix } from '../../layers/1-loopback/unix-listener.ts';
import { encodeLoadList } from '../../layers/3-dependencies/load-list.ts';
import { identityOf } from '../../layers/3-dependencies/native-code.ts';
import type { Watched } from '../../layers/6-intrusion/scan-result.ts';
import { asShown } from '../../linux/procfs/escaped-path.ts';
import { sealedBytes } from '../../linux/memory/memfd.ts';
import { isInstalledUser, RoleJails } from '../roles/role-jails.ts';
import type { LoadDescriptors } from '../roles/role-process.ts';
import { ownProgram } from '../roles/role-process.ts';
import { ServerState } from '../server-state.ts';
import type { OpenModel } from './model-resolver.ts';
import { openApprovedModel } from './model-resolver.ts';
import type { Handover } from './reexec.ts';

/** The listener, the socket that reserves [::1], and the pid of a process in the listener's network namespace. */
type Loopback = ReturnType<typeof openLoopback>;

export type ServerResources = Loopback & {
  readonly startedAt: number;
  readonly uid: number;
  readonly state: ServerState;
  readonly model: OpenModel;
  readonly unix: ReturnType<typeof bindUnix> | undefined;
  /** Whether the server runs as the user of an installation. */
  readonly installed: boolean;
  readonly jails: RoleJails;
  readonly loads: LoadDescriptors;
  /** Returns the facts about the server that the watchdog receives, other than the list of processes. */
  readonly watched: () => Omit<Watched, 'targets'>;
};

/** Opens everything. @throws `STATE_*`, `L6_VIOLATION_STANDS`, `L4_*`, `L1_*`, `L2_ISOLATE_RECORD` */
export async function openResources(config: Config, { tree, natives, visible }: Handover): Promise<ServerResources> {
  const startedAt = Date.now();
  const uid = process.getuid?.() ?? -1;
  const state = new ServerState(config, uid);
  // The model's file is held under a lease, and the kernel sends SIGIO when another process wants to write to it. The
  // next scan assesses that. Without this listener, the signal would terminate the process.
  process.on('SIGIO', () => undefined);
  const model = await openApprovedModel({ wanted: config.model, root, state: state.folder, weights: config.weights });
  const { listener, reservedIpv6, network } = openLoopback(
    { fds: process.env['LISTEN_FDS'], pid: process.env['LISTEN_PID'] },
    process.pid,
    config.port,
  );
  const unix = config.socketPath === undefined ? undefined : bindUnix(config.socketPath);
  const installed = isInstalledUser(uid);
  const modelPaths = model.verified.mode === 'file' ? model.paths : [];
  const jails = new RoleJails(config, { uid, installed, modelPaths });
  const nativeFds = [...natives.values()];
  const loadList = sealedBytes('kwyre-loads', encodeLoadList(tree, [...natives.keys()], visible));
  const code = [...tree.evidence.libraries, ...(visible ? [realpathSync(ownProgram)] : [])].map(asShown);
  const memory = [statSync(ownProgram), ...nativeFds.map((fd) => fstatSync(fd))].map(identityOf);
  return {
    startedAt,
    uid,
    state,
    model,
    listener,
    reservedIpv6,
    network,
    unix,
    installed,
    jails,
    loads: { fd: loadList, natives: nativeFds },
    watched: () => ({
      port: listener.port,
      listener: fstatSync(listener.fd).ino,
      networks: [...new Set([process.pid, network])],
      unixPath: asShown(unix?.path ?? ''),
      code,
      memory,
    }),
  };
}
