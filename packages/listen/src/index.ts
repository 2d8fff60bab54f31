export { type ListenAddress, listen } from './listen.ts'
