// How a service's state looks: never by colour alone.

export interface ServiceLook {
  sign: string;
  tone: 'good' | 'mid' | 'bad';
  bad: boolean;
  order: number;
}

const GOOD: ServiceLook = { sign: '●', tone: 'good', bad: false, order: 2 };
const MID: ServiceLook = { sign: '◐', tone: 'mid', bad: false, order: 1 };
const BAD: ServiceLook = { sign: '▲', tone: 'bad', bad: true, order: 0 };

const LOOKS: Record<string, ServiceLook> = {
  up: GOOD, ready: GOOD, running: GOOD, healthy: GOOD, ok: GOOD,
  starting: MID, restarting: MID, waiting: MID, stopping: MID, backoff: MID, disabled: MID, off: MID,
};

export const serviceLook = (state: string): ServiceLook => LOOKS[state] ?? BAD;

/** Event kinds that count as alarms for an hour; services speak for themselves in the list below them. */
export const ALARMS = new Set(['battle.failed', 'battle.loss_spike', 'patrol.failed', 'queue.failed', 'queue.rejected']);
