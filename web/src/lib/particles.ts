// Sparks on one canvas for the whole page. The loop runs only while sparks live.

interface Spark {
  x: number;
  y: number;
  vx: number;
  vy: number;
  born: number;
  life: number;
  size: number;
  color: string;
}

interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

const MOST = 40;
/** Twenty pictures a second, by a timer: an animation frame would wake the browser for each it leaves out. */
const PICTURE_MS = 50;
const REACH = 240;

const around = (x: number, y: number): Box => ({
  left: Math.max(0, x - REACH), top: Math.max(0, y - REACH), right: Math.min(innerWidth, x + REACH), bottom: Math.min(innerHeight, y + REACH),
});
const union = (a: Box | null, b: Box): Box =>
  a === null ? b : { left: Math.min(a.left, b.left), top: Math.min(a.top, b.top), right: Math.max(a.right, b.right), bottom: Math.max(a.bottom, b.bottom) };

export class Sparks {
  #live: Spark[] = [];
  #timer: ReturnType<typeof setInterval> | undefined;
  #box: Box | null = null;

  constructor(private readonly canvas: HTMLCanvasElement) {}

  /** A burst at a point of the window; never more than 40 sparks at once. */
  burst(x: number, y: number, count: number, colors: readonly string[], speed = 190): void {
    const now = performance.now();
    const room = Math.min(count, MOST - this.#live.length);
    for (let i = 0; i < room; i++) {
      const angle = (i / room) * Math.PI * 2 + Math.random() * 0.3;
      const v = speed * (0.55 + Math.random() * 0.6);
      this.#live.push({
        x, y, vx: Math.cos(angle) * v, vy: Math.sin(angle) * v, born: now, life: 550 + Math.random() * 350,
        size: 1.5 + Math.random() * 2.2, color: colors[i % colors.length] ?? '#f0c36a',
      });
    }
    if (room <= 0) return;
    this.#cover(union(this.#box, around(x, y)));
    if (this.#timer === undefined) this.#start(now);
  }

  stop(): void {
    this.#live = [];
    this.#end();
  }

  /** The canvas is only as large as the sparks can fly. */
  #cover(box: Box): void {
    this.#box = box;
    this.canvas.width = box.right - box.left;
    this.canvas.height = box.bottom - box.top;
    this.canvas.style.left = `${box.left}px`;
    this.canvas.style.top = `${box.top}px`;
    this.canvas.hidden = false;
  }

  #end(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#box = null;
    this.canvas.hidden = true;
  }

  #start(now: number): void {
    let last = now;
    this.#timer = setInterval(() => {
      const time = performance.now();
      const dt = Math.min(0.05, (time - last) / 1000);
      last = time;
      this.#draw(time, dt);
      if (this.#live.length === 0) this.#end();
    }, PICTURE_MS);
  }

  #draw(time: number, dt: number): void {
    const pen = this.canvas.getContext('2d');
    const box = this.#box;
    if (!pen || !box) return this.stop();
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.#live = this.#live.filter((spark) => time - spark.born < spark.life);
    for (const spark of this.#live) {
      spark.vy += 160 * dt;
      spark.x += spark.vx * dt;
      spark.y += spark.vy * dt;
      pen.globalAlpha = Math.max(0, 1 - (time - spark.born) / spark.life);
      pen.fillStyle = spark.color;
      pen.beginPath();
      pen.arc(spark.x - box.left, spark.y - box.top, spark.size, 0, Math.PI * 2);
      pen.fill();
    }
    pen.globalAlpha = 1;
  }
}
