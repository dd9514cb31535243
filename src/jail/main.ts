/**
 * The jail stage: not a process of its own but what every role goes through. It restricts itself, reports what it got,
 * and becomes the role with execve in the same process.
 *
 * Run: `node [jail/entry.js] jail/main.js ROLE ENTRY JSON`; descriptor 3 is the control edge. Tests give a hostile
 *      entry here, so that
 * no back door stands in the roles themselves. The probe (`probe/main.ts`) and nobody else may leave a feature out; it
 * has no control edge but a pipe, which takes the same reports as lines of JSON.
 * @module
 */
import { closeSync, existsSync, fstatSync, readFileSync, readlinkSync, realpathSync, writeSync } from 'node:fs';
import { extname, join } from 'node:path';
import { KwyreError } from '../base/errors.ts';
import { confineSelf } from '../layers/2-isolation/jail/confine.ts';
import { parseProbeRequest } from '../layers/2-isolation/probe/probe-request.ts';
import { loadListDescriptor, nativeDescriptors } from '../layers/3-dependencies/load-list.ts';
import { LinuxError } from '../linux/ffi.ts';
import { openFilesOf } from '../linux/procfs/limits.ts';
import { makeSecretMemory } from '../linux/memory/mapped-memory.ts';
import { duplicateTo, keepAcrossExec, restCapabilities } from '../linux/process.ts';
import { families, makeSocket } from '../linux/sockets/socket.ts';
import { roleFlags } from '../policy/node-flags.ts';
import type { Policy } from '../policy/role-policy.ts';
import type { Role } from '../policy/roles.ts';
import { keptDescriptors, roleEnvironment, roles } from '../policy/roles.ts';
import { encodeFrame } from '../wire/frame.ts';
import { encodeJson } from '../wire/control-payloads.ts';
import { controlMessages, descriptors } from '../wire/messages.ts';
import { array, boolean, number, object, optional, string } from '../wire/schema.ts';

const inputSchema = object({
  readable: array(string(4096), 64),
  uid: optional(number(0)),
  gid: optional(number(0)),
  accepted: array(string(64), 64),
  installed: optional(boolean()),
  tasks: optional(number(1)),
  parts: optional(number(0, 255)),
  probe: optional(string(4096)),
});
const ownProgram = '/proc/self/exe';
const probeEntry = join(import.meta.dirname, '..', 'probe', `main${extname(import.meta.filename)}`);

function report(type: number, value: unknown): void {
  if (probing) {
    writeSync(descriptors.control, `${JSON.stringify(value)}\n`);
    return;
  }
  const frame = encodeFrame(type, 0, encodeJson(value));
  for (let at = 0; at < frame.length;) at += writeSync(descriptors.control, frame, at);
}

/** Whether the supervisor handed this one over: a socket or the model, not a descriptor of Node's own. */
function isHandedOver(fd: number): boolean {
  try {
    const facts = fstatSync(fd);
    return facts.isSocket() || facts.isFile();
  } catch {
    return false;
  }
}

/** Makes the role's secret memory; without it the role finds none, says so and is reported as degraded. */
function offerSecretMemory(policy: Policy): void {
  if (policy.secretMemory === undefined) return;
  try {
    const fd = makeSecretMemory(policy.secretMemory[0]);
    duplicateTo(fd, descriptors.secret);
    closeSync(fd);
  } catch (error) {
    if (!(error instanceof LinuxError)) throw error;
  }
}

process.exitCode = 1;
const [role = '', entry = '', json = ''] = process.argv.slice(2);
const probing = entry === probeEntry;
try {
  if (!Object.hasOwn(roles, role)) throw new KwyreError('USAGE_ROLE', 'the jail stage knows no such role');
  const input = inputSchema.check(JSON.parse(json), '$');
  if ((input.probe !== undefined) !== probing)
    throw new KwyreError(
      'L2_PROBE_ONLY',
      'only the probe, and nobody but the probe, may run with a part of the jail',
      'start with ./kwyre',
    );
  const order = input.probe === undefined ? undefined : parseProbeRequest(input.probe);
  const uid = process.getuid?.() ?? -1;
  // Made outside the jail, as the gateway's listener is: what the probe may not turn into a connection.
  const inherited = order === undefined ? undefined : makeSocket(families.inet);
  if (!probing) offerSecretMemory(roles[role as Role]);
  const enforced = confineSelf({
    role: role as Role,
    supervisor: process.ppid,
    uid,
    become: input.uid === undefined || input.gid === undefined ? undefined : { uid: input.uid, gid: input.gid },
    readable: [...input.readable, entry],
    // A Node in sealed memory has no path, and needs no rule.
    executable: existsSync(process.execPath) ? realpathSync(process.execPath) : undefined,
    pid: process.pid,
    accepted: input.accepted,
    probe: order,
    installed: input.installed === true,
    tasks: input.tasks,
    readNetwork: () => readlinkSync('/proc/self/ns/net'),
    openFiles: openFilesOf(readFileSync('/proc/self/limits', 'latin1')).hard,
    readStatus: () => readFileSync('/proc/self/status', 'latin1'),
    readDevices(of) {
      try {
        return readFileSync(`/proc/${of}/net/dev`, 'latin1');
      } catch {
        return '';
      }
    },
  });
  report(controlMessages.enforced, { enforced });
  const parts = Array.from({ length: input.parts ?? 0 }, (_, index) => descriptors.parts + index);
  const kept =
    inherited === undefined
      ? [...keptDescriptors[role as Role], ...parts]
      : [inherited, loadListDescriptor, nativeDescriptors.first];
  for (const fd of kept.filter(isHandedOver)) keepAcrossExec(fd);
  if (probing) keepAcrossExec(descriptors.control);
  // Whoever came here through the entry becomes the role through it.
  const through = isHandedOver(loadListDescriptor)
    ? [join(import.meta.dirname, `entry${extname(import.meta.filename)}`)]
    : [];
  const capabilities = (roles[role as Role] as Policy).capabilities ?? [];
  if (uid === 0 && capabilities.length > 0) restCapabilities(capabilities.map(([number]) => number));
  if (process.execve === undefined)
    throw new KwyreError('L2_FEATURE_MISSING', 'this Node has no execve', 'start with ./kwyre');
  process.execve(
    ownProgram,
    [
      process.execPath,
      ...roleFlags,
      ...through,
      entry,
      role,
      ...(inherited === undefined ? [] : [input.probe ?? '', String(inherited)]),
    ],
    { ...roleEnvironment },
  );
} catch (error) {
  if (!(error instanceof KwyreError)) throw error;
  const { code, message, remedy } = error;
  report(controlMessages.failed, probing ? { failed: { code, message, remedy } } : { code, message, remedy });
  process.exitCode = error.exitCode;
}
