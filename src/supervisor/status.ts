/**
 * `GET /kwyre/status`: facts about the server and each layer's report, both as observed now.
 * @module
 */
import { release } from 'node:os';
import type { Config } from '../base/config.ts';
import type { Check, LayerReport } from '../base/verdict.ts';
import { version } from '../base/version.ts';
import { isIpv6Reserved } from '../layers/1-loopback/listener.ts';
import { loopbackReport } from '../layers/1-loopback/status.ts';
import { isolationReport } from '../layers/2-isolation/status.ts';
import { dependencyReport } from '../layers/3-dependencies/status.ts';
import type { VerifiedTree } from '../layers/3-dependencies/types.ts';
import { programCheck } from '../layers/3-dependencies/tree-checks.ts';
import { modelReport } from '../layers/4-model/status.ts';
import { memoryReport } from '../layers/5-memory/status.ts';
import type { Alarm } from './intrusion/alarm.ts';
import { readTable } from './proc-readings.ts';
import type { SelfProbe } from './roles/self-probe.ts';
import type { ServingPair } from './serving-pair.ts';
import type { ServerResources } from './start/server-resources.ts';

/** The sources of the status. */
type StatusSources = Pick<
  ServerResources,
  'startedAt' | 'uid' | 'installed' | 'listener' | 'reservedIpv6' | 'network' | 'model' | 'state'
> & {
  readonly config: Pick<Config, 'accepted' | 'parallel'>;
  readonly tree: VerifiedTree;
  /** Whether Node runs from its file. */
  readonly visible: boolean;
  readonly serving: ServingPair;
  readonly alarm: Alarm;
  readonly probe: SelfProbe;
  /** Returns the number of restarts in the last hour. */
  readonly restarts: () => number;
};

export class ServerStatus {
  /** Description of what confines the supervisor itself; empty before its filter is installed. */
  confined = '';
  readonly #sources: StatusSources;
  /** The check of the program that verified the model; made once, when the server starts. */
  readonly #program: Check;

  constructor(sources: StatusSources) {
    this.#sources = sources;
    this.#program = programCheck(sources.tree, Date.now());
  }

  /** Returns the reports of the six layers. */
  layers(): LayerReport[] {
    const { config, installed, uid, listener, reservedIpv6, network, tree, visible, model, serving, alarm, probe } =
      this.#sources;
    const { port } = listener;
    const { pair, facts, ended } = serving;
    const enforced = pair?.enforced ?? { gateway: [], engine: [] };
    return [
      loopbackReport({
        port,
        tcp: readTable(`/proc/${network}/net/tcp`),
        tcp6: readTable(`/proc/${network}/net/tcp6`),
        ipv6: { held: isIpv6Reserved(reservedIpv6, port), reason: reservedIpv6.reason },
        closedRoutes: pair?.closedRoutes ?? 0,
      }),
      isolationReport({
        enforced,
        accepted: config.accepted,
        probes: probe.checks(),
        devices: readTable('/proc/self/net/dev'),
        release: release(),
        confined: this.confined,
        installed,
      }),
      dependencyReport({ tree: tree.checks, visible, asRoot: uid === 0 }),
      modelReport(model.checks, this.#program),
      memoryReport({
        engine: facts?.memory,
        enforced,
        swaps: readTable('/proc/swaps'),
        presentBytes: pair?.workingBytes ?? 0,
        ...ended,
      }),
      alarm.report(),
    ];
  }

  /** Returns the response to `GET /kwyre/status`. */
  json(): object {
    const { startedAt, config, model, state, serving, restarts } = this.#sources;
    const { facts } = serving;
    return {
      version,
      pid: process.pid,
      uptime_s: Math.floor((Date.now() - startedAt) / 1000),
      model: {
        name: model.name,
        bytes: model.bytes,
        architecture: facts?.architecture ?? 'loading',
        context: facts?.contextTokens ?? 0,
      },
      engine: {
        version: facts?.engineVersion ?? 'loading',
        backend: facts?.backend ?? 'loading',
        threads: facts?.threads ?? 0,
        parallel: config.parallel,
        restarts: restarts(),
      },
      layers: this.layers(),
      events: state.log.losses,
    };
  }
}
