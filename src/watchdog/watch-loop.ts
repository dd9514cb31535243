/**
 * The watchdog's main loop: waits for an order, confines itself, then scans at each interval and reports. It never acts
 * on what it finds.
 *
 * Proof: test/attacks/6-watchdog.test.ts
 * @module
 */
import type { Enforcement } from '../base/verdict.ts';
import { KwyreError } from '../base/errors.ts';
import { detectAll } from '../layers/6-intrusion/detectors/all-detectors.ts';
import type { Detection } from '../layers/6-intrusion/finding.ts';
import { openStream } from '../linux/sockets/inherited-stream.ts';
import { Channel } from '../wire/channel.ts';
import type { WatchList } from '../wire/control-payloads.ts';
import { controlSchemas, encodeJson, maxFindings, parseJson } from '../wire/control-payloads.ts';
import { controlMessages, descriptors } from '../wire/messages.ts';
import type { ScanSources } from './scan.ts';
import { Scanner } from './scan.ts';

/** Options of the loop, in addition to the sources of a scan. */
type WatchLoopOptions = ScanSources & {
  readonly pid: number;
  readonly seal: () => Enforcement[];
  readonly exit: (code: number) => never;
};

const exitCodes = { stopped: 0, failed: 1, breach: 70 } as const;
const beatMs = 1000;

/** Limits the number of findings; the first ones are enough to act on. */
function bounded(detections: readonly Detection[]): Detection[] {
  return detections.map((detection) =>
    detection.findings.length > maxFindings
      ? { ...detection, findings: byWeight(detection).slice(0, maxFindings) }
      : detection,
  );
}

/** Sorts findings of effects before findings of names, so that many names cannot crowd an effect out of the message. */
function byWeight(detection: Detection): Detection['findings'] {
  const rank = { effect: 0, able: 1, stranger: 2 } as const;
  return [...detection.findings].sort((a, b) => rank[a.relation] - rank[b.relation]);
}

/** Runs until the supervisor has ended or sends `stop`. */
export function runWatchLoop(options: WatchLoopOptions): void {
  let sampler: Scanner | undefined;
  let order: WatchList | undefined;
  let intervalMs = 0;
  let sequence = 0;
  let scanning = false;
  let timer: NodeJS.Timeout | undefined;
  let beaten = options.now();

  const control = openStream(
    descriptors.control,
    (chunk) => {
      supervisor.receive(chunk);
    },
    () => {
      options.exit(exitCodes.stopped);
    },
  );

  const scan = async (): Promise<void> => {
    if (sampler === undefined || order === undefined || scanning) return;
    scanning = true;
    clearTimeout(timer);
    const { epoch, ...watched } = order;
    const at = options.clocks().monotonic;
    const from = options.now();
    const snapshot = await sampler.take(watched, intervalMs);
    const detections = bounded(detectAll(snapshot));
    sampler.watchClosely(new Set(detections.flatMap((detection) => detection.findings.map((finding) => finding.pid))));
    const scanMs = options.now() - from;
    supervisor.send(
      controlMessages.scanned,
      encodeJson({ epoch, sequence, at, scanMs: Math.round(scanMs), detections }),
    );
    sequence += 1;
    scanning = false;
    // If an order arrived during this scan, the next scan starts without delay.
    timer = setTimeout(() => void scan(), epoch === order.epoch ? Math.max(0, intervalMs - scanMs) : 0);
  };

  const supervisor = new Channel(
    control,
    {
      [controlMessages.configure]: {
        permit: 'once',
        handle: (frame) => {
          const config = parseJson(controlSchemas.configureWatchdog, frame.payload);
          intervalMs = config.intervalMs;
          sampler = new Scanner(options, config.ownUid);
          beaten = options.now();
          try {
            const enforced = options.seal();
            setInterval(() => {
              const now = options.now();
              supervisor.send(
                controlMessages.beat,
                encodeJson({ lateMs: Math.max(0, Math.round(now - beaten - beatMs)) }),
              );
              beaten = now;
            }, beatMs);
            supervisor.send(controlMessages.ready, encodeJson({ pid: options.pid, enforced }));
          } catch (error) {
            if (!(error instanceof KwyreError)) throw error;
            supervisor.send(
              controlMessages.failed,
              encodeJson({ code: error.code, message: error.message, remedy: error.remedy }),
            );
          }
        },
      },
      [controlMessages.watch]: {
        permit: 'always',
        handle: (frame) => {
          order = parseJson(controlSchemas.watch, frame.payload);
          void scan();
        },
      },
      [controlMessages.ping]: {
        permit: 'always',
        handle: (frame) => {
          supervisor.send(controlMessages.pong, undefined, frame.stream);
        },
      },
      [controlMessages.stop]: {
        permit: 'once',
        handle: () => {
          options.exit(exitCodes.stopped);
        },
      },
    },
    () => {
      options.exit(exitCodes.breach);
    },
  );
}
