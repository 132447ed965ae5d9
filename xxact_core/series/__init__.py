"""Series of measurements over temperature, pressure or time: their phases, fractions and cells."""
