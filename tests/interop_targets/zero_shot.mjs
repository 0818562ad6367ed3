// Opens ONNX folders by the zero-shot pipeline of transformers.js and prints the scores as JSON:
//   node zero_shot.mjs LIBRARY FOLDER '[["name", "dtype"], ...]' '["label", ...]' SIZE
// Each picture is grey and of the model's size: the resize there is another one.
const [library, folder, models, labels, size] = process.argv.slice(2);
const { env, pipeline, RawImage } = await import(library);
env.allowRemoteModels = false;
env.localModelPath = folder;
const pixels = new Uint8ClampedArray(size * size * 3).map((_, i) => (i * 7) % 256);
const found = [];
for (const [name, dtype] of JSON.parse(models)) {
  const classify = await pipeline('zero-shot-image-classification', name, { dtype });
  const picture = new RawImage(pixels, Number(size), Number(size), 3);
  const scores = await classify(picture, JSON.parse(labels), { hypothesis_template: '{}' });
  found.push(Object.fromEntries(scores.map(({ label, score }) => [label, score])));
}
console.log(JSON.stringify(found));
