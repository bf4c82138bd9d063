// Draws a sound: its spectrogram, and beneath it the waveform. Decoded in the browser.

const WINDOW = 512; // samples of one spectrum
const HIGHEST = 8000; // Hz at the top
const RANGE = 70; // decibels from dark to bright

let decoder = null;
async function decoded(bytes) {
  decoder = decoder || new OfflineAudioContext(1, 1, 16000); // needs no click, plays nothing
  const sound = await decoder.decodeAudioData(bytes);
  return { samples: sound.getChannelData(0), rate: sound.sampleRate };
}

// What the transform needs of sines, and where each sample goes: the same for every spectrum.
const COS = Float32Array.from({ length: WINDOW / 2 }, (_, k) => Math.cos((-2 * Math.PI * k) / WINDOW));
const SIN = Float32Array.from({ length: WINDOW / 2 }, (_, k) => Math.sin((-2 * Math.PI * k) / WINDOW));
const HANN = Float32Array.from({ length: WINDOW }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / WINDOW));
const REVERSED = Uint16Array.from({ length: WINDOW }, (_, n) => {
  let reversed = 0;
  for (let bit = 1; bit < WINDOW; bit *= 2) reversed = reversed * 2 + (n & bit ? 1 : 0);
  return reversed;
});

// The spectrum of WINDOW samples into re, im, by a plain radix-2 FFT in place.
function spectrum(samples, first, re, im) {
  for (let n = 0; n < WINDOW; n++) {
    re[REVERSED[n]] = (samples[first + n] || 0) * HANN[n];
    im[REVERSED[n]] = 0;
  }
  for (let size = 2; size <= WINDOW; size *= 2) {
    for (let k = 0; k < size / 2; k++) {
      const cos = COS[(k * WINDOW) / size];
      const sin = SIN[(k * WINDOW) / size];
      for (let start = k; start < WINDOW; start += size) {
        const other = start + size / 2;
        const a = re[other] * cos - im[other] * sin;
        const b = re[other] * sin + im[other] * cos;
        re[other] = re[start] - a;
        im[other] = im[start] - b;
        re[start] += a;
        im[start] += b;
      }
    }
  }
}

// Dark blue over teal to light yellow: a step in loudness is a step in lightness.
const STOPS = [[11, 19, 32], [18, 61, 82], [20, 120, 122], [94, 178, 124], [250, 234, 160]]; // prettier-ignore
const SHADES = Array.from({ length: 256 }, (_, n) => {
  const at = Math.min(0.9999, n / 255) * (STOPS.length - 1);
  const low = Math.floor(at);
  return STOPS[low].map((value, k) => value + (at - low) * (STOPS[low + 1][k] - value));
});

function drawSound(canvas, { samples, rate }) {
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  const width = (canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio)));
  const height = (canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio)));
  const tall = Math.round(height * 0.76);
  const context = canvas.getContext("2d");
  context.fillStyle = "rgb(11 19 32)";
  context.fillRect(0, 0, width, height);
  drawSpectrogram(context, samples, rate, width, tall);
  drawWaveform(context, samples, width, tall, height);
}

function drawSpectrogram(context, samples, rate, width, tall) {
  const columns = Math.min(width, 700);
  const bins = Math.min(WINDOW / 2, Math.ceil((HIGHEST / rate) * WINDOW));
  const re = new Float32Array(WINDOW);
  const im = new Float32Array(WINDOW);
  const levels = new Float32Array(columns * bins);
  let loudest = -Infinity;
  for (let x = 0; x < columns; x++) {
    spectrum(samples, Math.round((x / columns) * samples.length - WINDOW / 2), re, im);
    for (let k = 0; k < bins; k++) {
      const level = 10 * Math.log10(re[k] * re[k] + im[k] * im[k] + 1e-12);
      levels[x * bins + k] = level;
      if (level > loudest) loudest = level;
    }
  }
  const image = new ImageData(columns, bins);
  for (let x = 0; x < columns; x++) {
    for (let k = 0; k < bins; k++) {
      const at = 4 * ((bins - 1 - k) * columns + x);
      const level = Math.max(0, (levels[x * bins + k] - loudest) / RANGE + 1);
      const [red, green, blue] = SHADES[Math.round(255 * level)];
      image.data[at] = red;
      image.data[at + 1] = green;
      image.data[at + 2] = blue;
      image.data[at + 3] = 255;
    }
  }
  const small = make("canvas", { width: columns, height: bins });
  small.getContext("2d").putImageData(image, 0, 0);
  context.drawImage(small, 0, 0, width, tall);
}

function drawWaveform(context, samples, width, top, bottom) {
  const middle = (top + bottom) / 2;
  const most = samples.reduce((peak, value) => Math.max(peak, Math.abs(value)), 1e-6);
  const scale = (0.9 * (bottom - top)) / 2 / most;
  context.fillStyle = "rgb(94 178 124)";
  for (let x = 0; x < width; x++) {
    const first = Math.floor((x / width) * samples.length);
    const last = Math.max(first + 1, Math.floor(((x + 1) / width) * samples.length));
    let low = 0;
    let high = 0;
    for (let n = first; n < last; n++) {
      if (samples[n] < low) low = samples[n];
      if (samples[n] > high) high = samples[n];
    }
    context.fillRect(x, middle - high * scale, 1, Math.max(1, (high - low) * scale));
  }
}
