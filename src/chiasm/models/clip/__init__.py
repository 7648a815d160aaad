"""The CLIP family (Radford et al. 2021): a tower for pictures, one for texts. Also Chinese-CLIP, SigLIP."""
