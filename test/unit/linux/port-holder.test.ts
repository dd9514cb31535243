/**
 * The holder of a TCP port.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findSocket } from '../../../src/linux/procfs/port-holder.ts';

test('the table of the kernel is read by port, listeners first', () => {
  const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F40 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 111 1
   1: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1001        0 222 1
`;
  assert.deepEqual(
    [findSocket(table, 8000)].map((row) => [row?.uid, row?.inode]),
    [[1001, 222]],
  );
  assert.equal(findSocket(table, 8001), undefined);
});
