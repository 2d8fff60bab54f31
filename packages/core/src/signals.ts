/**
 * The signals that a container may ask for. SIGTERM and SIGINT are the drain's, and the others end a program or tell of a
 * defect in it.
 */
export const askableSignals = ['SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH', 'SIGCONT'] as const

export type AskableSignal = (typeof askableSignals)[number]
