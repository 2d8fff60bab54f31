/** A named condition of readiness. */
export interface Gate {
  open(): void
  close(reason: string): void
}

/** A remark that people should read although the container is ready, such as "serving a self-signed certificate". */
export interface Notice {
  set(text: string): void
  clear(): void
}

export type GateState = { readonly open: true } | { readonly open: false; readonly reason: string }

/** What `/readyz` answers. */
export interface ReadinessReport {
  readonly ready: boolean
  readonly gates: Readonly<Record<string, GateState>>
  readonly notices: Readonly<Record<string, string>>
}

/** Ready when every gate is open; not ready says which one is closed and why. */
export class Readiness {
  readonly #gates = new Map<string, GateState>()
  readonly #notices = new Map<string, string>()
  readonly #redact: (text: string) => string

  /** `redact` takes secrets out of reasons and notices, which often quote an error. */
  constructor(redact: (text: string) => string = (text) => text) {
    this.#redact = redact
  }

  gate(name: string, reason: string): Gate {
    if (this.#gates.has(name)) throw new Error(`gate "${name}" exists already`)
    const set = (state: GateState) => void this.#gates.set(name, state)
    set({ open: false, reason: this.#redact(reason) })
    return {
      open: () => set({ open: true }),
      close: (why) => set({ open: false, reason: this.#redact(why) }),
    }
  }

  notice(name: string): Notice {
    return {
      set: (text) => void this.#notices.set(name, this.#redact(text)),
      clear: () => void this.#notices.delete(name),
    }
  }

  report(): ReadinessReport {
    const states = [...this.#gates.values()]
    return {
      ready: states.every((state) => state.open),
      gates: Object.fromEntries([...this.#gates].map(([name, state]) => [name, this.#shown(state)])),
      notices: Object.fromEntries([...this.#notices].map(([name, text]) => [name, this.#redact(text)])),
    }
  }

  /** Once more: what is secret may have become known after it was said. */
  #shown(state: GateState): GateState {
    return state.open ? state : { open: false, reason: this.#redact(state.reason) }
  }
}
