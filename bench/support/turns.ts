import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Peer } from '../peers/subject.ts'
import type { Rounds } from './comparison.ts'
import { lackOf } from './install.ts'
import type { Measurement } from './measure.ts'

/** How often subjects are measured, and under what name. */
export interface Turns {
  /** Of the workload. */
  readonly name: string
  readonly rounds: number
  /** Each measurement gets an empty folder in it. */
  readonly directory: string
}

/** Measures each subject once in each round, so that what the machine does beside falls on all of them alike. */
export async function inTurns<S extends Peer>(
  subjects: readonly S[],
  { name, rounds, directory }: Turns,
  measureOne: (subject: S, own: string) => Promise<Measurement>,
): Promise<Rounds[]> {
  const outcomes = subjects.map((subject) => ({
    subject,
    lack: lackOf(subject),
    measured: [] as Rounds['measured'],
  }))
  for (let round = 0; round < rounds; round++) {
    for (const { subject, lack, measured } of outcomes) {
      if (lack !== undefined) continue
      const own = join(directory, `${name}-${subject.name}-${round}`)
      mkdirSync(own)
      const outcome = await measureOne(subject, own).catch(asError)
      measured.push(outcome)
      console.log(`${name}, round ${round + 1} of ${rounds}: ${subject.name} ${brief(outcome)}`)
    }
  }
  return outcomes
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)))

function brief(outcome: Measurement | Error): string {
  if (outcome instanceof Error) return `failed: ${outcome.message}`
  const { cpuUs, perSecond, p99Ms, complaints } = outcome
  const figures = `${cpuUs.toFixed(1)} us, ${perSecond.toFixed(0)}/s, p99 ${p99Ms.toFixed(2)} ms`
  return [figures, ...complaints].join(', ')
}
