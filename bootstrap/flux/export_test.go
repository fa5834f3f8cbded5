package flux

// KustomizationOf is what Flux is told to apply.
var KustomizationOf = (*Flux).kustomization
