/**
 * Builds the options for each pair of roles from the server's flags and the resources it opened.
 * @module
 */
import { totalmem } from 'node:os';
import { join } from 'node:path';
import type { Config } from '../../base/config.ts';
import { root } from '../../installation/paths.ts';
import type { GatewayConfig } from '../../wire/control-payloads.ts';
import type { ServerResources } from '../start/server-resources.ts';
import type { RolePairOptions } from './role-pair.ts';

/** The longest time that one turn may take, in seconds. */
const turnSeconds = 3600;
const maxBodyBytes = 32 << 20;

/** Options that change while the server runs. */
type LiveOptions = {
  readonly intake: () => Pick<GatewayConfig, 'open' | 'ready'>;
  readonly tokens: () => GatewayConfig['tokens'];
  readonly status: () => object;
};

/** Returns the options for the next pair. */
export function rolePairOptions(config: Config, resources: ServerResources, live: LiveOptions): RolePairOptions {
  const { contextTokens, parallel, threads, kv, idleSeconds, continueSeconds } = config;
  const { listener, unix, model, loads, jails } = resources;
  return {
    listenerFd: listener.fd,
    unixListenerFd: unix?.fd,
    modelFds: model.fds,
    loads,
    machineBytes: totalmem(),
    jail: jails.of('engine'),
    engine: {
      modelName: model.name,
      modelBytes: model.bytes,
      modelFiles: model.fds.length,
      createdSeconds: model.createdSeconds,
      contextTokens,
      parallel,
      threads,
      turnSeconds,
      kv,
      idleSeconds,
      continueSeconds,
      sealedBytes: 0,
    },
    gateway: () => ({
      port: listener.port,
      tokens: live.tokens(),
      bodyBytes: maxBodyBytes,
      pageDirectory: join(root, 'page'),
      ...live.intake(),
    }),
    status: live.status,
  };
}
