"""4D radiative Gaussian splatting (4DRGS, arXiv 2412.12919): anisotropic Gaussians with changing attenuation."""
